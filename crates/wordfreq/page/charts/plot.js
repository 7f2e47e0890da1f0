// uPlot as a part of the page: made once, given new data as it comes, as wide as its place, in the colours of the theme.
// A canvas tells a screen reader nothing: whoever draws one gives it a label and puts the same figures into a table.

import { html, useEffect, useRef, useState } from '../html.js';
import uPlot from '../vendor/uPlot.js';

const NAMES = [
  'ink', 'muted', 'line', 'surface', 'accent', 'good', 'warn', 'bad',
  'series-waiting', 'series-flight', 'series-service', 'series-desired', 'series-arrived', 'series-done',
  'series-age', 'band-ok', 'band-alarm', 'band-unknown',
];

/** The theme's colours as a canvas takes them: a style sheet's `light-dark()` is none. */
function colours() {
  const probe = document.createElement('span');
  probe.hidden = true;
  document.body.append(probe);
  const found = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** Calls `changed` when the theme is another, by the switch or by the system. */
function onTheme(changed) {
  const system = matchMedia('(prefers-color-scheme: dark)');
  addEventListener('wordfreq-theme', changed);
  system.addEventListener('change', changed);
  return () => {
    removeEventListener('wordfreq-theme', changed);
    system.removeEventListener('change', changed);
  };
}

export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** An axis in the theme's colours. */
export function axis(palette, more) {
  return {
    font: FONT,
    stroke: palette.muted,
    grid: { stroke: palette.line, width: 1 },
    ticks: { show: false },
    ...more,
  };
}

/**
 * A chart. `options(palette)` gives uPlot's options but for the size; it is called again when the theme changes, or
 * `shape` does. `data` is uPlot's.
 */
export function Plot({ options, shape = '', data, height, label }) {
  const place = useRef(null);
  const plot = useRef(null);
  const [theme, setTheme] = useState(0);

  useEffect(() => onTheme(() => setTheme((n) => n + 1)), []);
  useEffect(() => {
    const made = new uPlot(
      { ...options(colours()), width: place.current.clientWidth, height },
      data,
      place.current,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => {
      const width = place.current?.clientWidth ?? 0;
      if (width > 0 && width !== made.width) made.setSize({ width, height });
    });
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [theme, shape, height]);
  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);

  return html`<div class="plot" ref=${place} role="img" aria-label=${label} style=${{ height: `${height}px` }}></div>`;
}
