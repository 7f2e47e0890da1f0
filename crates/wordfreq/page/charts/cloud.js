// The most frequent words as a cloud, for those who want one: the area of a word goes with its count. Each word takes
// the first free place on a spiral from the middle. Sizes in a cloud are hard to compare; the list beside it is exact.

import { html, useEffect, useMemo, useRef, useState } from '../html.js';
import { go } from '../router.js';
import { layout } from './geometry.js';

const HEIGHT = 340;
const FAMILY = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const TONES = 4;

export function Cloud({ counts }) {
  const place = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const resized = new ResizeObserver(() => setWidth(place.current?.clientWidth ?? 0));
    resized.observe(place.current);
    return () => resized.disconnect();
  }, []);
  const words = useMemo(() => {
    const pen = document.createElement('canvas').getContext('2d');
    const measure = (word, size) => {
      pen.font = `600 ${size}px ${FAMILY}`;
      return pen.measureText(word).width;
    };
    return width > 0 ? layout(counts.filter(({ word }) => word !== ''), width, HEIGHT, measure) : [];
  }, [counts, width]);
  return html`
    <div ref=${place} class="cloud">
      <svg width=${width} height=${HEIGHT} role="img" aria-label=${`A cloud of the ${words.length} most frequent words; the list has the same words with their counts.`}>
        ${words.map(
          ({ word, count, x, y, size }, i) => html`<text key=${word} x=${x} y=${y} font-size=${size} class=${`tone-${i % TONES}`}
            onClick=${() => go('words', { word })}>${word}<title>${`${word}: ${count.toLocaleString('en')}`}</title></text>`,
        )}
      </svg>
    </div>
  `;
}
