// The mathematics of the charts: pure functions of numbers. Not here: columns of time (samples.js), and drawing.

const LARGEST = 64;
const SMALLEST = 11;
/** A word that finds no place within so many tries is left out. */
const TRIES = 1500;

/** The straight line nearest to log(count) over log(rank): `{slope, at(rank)}`, or null of too few points. */
export function fit(points) {
  if (points.length < 3) return null;
  const xs = points.map(({ rank }) => Math.log(rank));
  const ys = points.map(({ count }) => Math.log(count));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const spread = xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
  if (spread === 0) return null;
  const slope = xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i] - my), 0) / spread;
  return { slope, at: (rank) => Math.exp(my + slope * (Math.log(rank) - mx)) };
}

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
