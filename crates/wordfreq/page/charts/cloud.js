// The most frequent words as a cloud, for those who want one: the area of a word goes with its count. Each word takes
// the first free place on a spiral from the middle. Sizes in a cloud are hard to compare; the list beside it is exact.

import { html, useEffect, useMemo, useRef, useState } from '../html.js';
import { go } from '../router.js';

const HEIGHT = 340;
const LARGEST = 64;
const SMALLEST = 11;
const FAMILY = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** A word that finds no place within so many tries is left out. */
const TRIES = 1500;
const TONES = 4;

/**
 * Where each word goes: `[{word, count, x, y, size}]`, the middle of each. `measure(word, size)` gives a word's width
 * in pixels.
 */
export function layout(counts, width, height, measure) {
  const most = counts[0]?.count ?? 1;
  const largest = Math.min(LARGEST, width / 7);
  const placed = [];
  for (const { word, count } of counts) {
    const size = Math.max(SMALLEST, largest * Math.sqrt(count / most));
    const half = { w: measure(word, size) / 2 + 3, h: size * 0.52 };
    for (let i = 0; i < TRIES; i += 1) {
      const angle = i * 0.35;
      const x = width / 2 + Math.cos(angle) * angle * 1.1;
      const y = height / 2 + Math.sin(angle) * angle * 0.6;
      if (x - half.w < 0 || x + half.w > width || y - half.h < 0 || y + half.h > height) continue;
      if (placed.some((one) => Math.abs(one.x - x) < one.half.w + half.w && Math.abs(one.y - y) < one.half.h + half.h)) continue;
      placed.push({ word, count, x, y, size, half });
      break;
    }
  }
  return placed;
}

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
