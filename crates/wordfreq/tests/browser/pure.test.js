// The parts of the page that are pure functions: figures into words, samples into columns, shapes into places.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fit, layout } from '../../page/charts/geometry.js';
import { columns, flows, joined, rate, states } from '../../page/charts/samples.js';
import { bytes, decimal, duration, integer, plural, time } from '../../page/format.js';

const seen = (at, visible, deleted = 0, more = {}) => ({
  at, visible, inFlight: 0, age: null, sent: 0, deleted, inService: 1, desired: 1, ...more,
});

test('figures have units, and what is not known is a dash', () => {
  assert.equal(integer(1234567), '1,234,567');
  assert.equal(integer(null), '–');
  assert.equal(decimal(0.97912), '0.979');
  assert.equal(decimal(71507.3), '71,507');
  assert.equal(plural(1, 'document'), '1 document');
  assert.equal(plural(2000, 'document'), '2,000 documents');
  assert.deepEqual([0, 999, 999.6e3, 1500, 64e6, 5.5e9].map(bytes), ['0 B', '999 B', '1 MB', '1.5 kB', '64 MB', '5.5 GB']);
});

test('a duration has its two largest units', () => {
  const given = [0, 0.0000005, 0.0032, 0.5, 1, 9.94, 59.6, 60, 125, 3600, 12_000, 86_400, 187_200];
  const said = ['0 s', '0.5 µs', '3.2 ms', '500 ms', '1 s', '9.9 s', '1 min', '1 min', '2 min 5 s', '1 h', '3 h 20 min', '1 d', '2 d 4 h'];
  assert.deepEqual(given.map(duration), said);
});

test('a time of today has no date, and one of another year no clock', () => {
  const now = new Date(2031, 4, 6, 12, 0, 0);
  assert.equal(time(new Date(2031, 4, 6, 9, 8, 7), now), '09:08:07');
  assert.match(time(new Date(2031, 1, 3, 9, 8, 7), now), /^3 Feb, 09:08$/);
  assert.match(time(new Date(2030, 1, 3), now), /^3 Feb 2030$/);
});

test('a peak within a column stays a peak', () => {
  const drawn = columns([seen(0, 1), seen(1200, 90), seen(1800, 2)], [], 0, 4000, 4, 60_000);
  assert.deepEqual(drawn.waiting, [1, 90, 2, 2]);
});

test('what stands holds until it is seen anew, and not for ever', () => {
  const drawn = columns([seen(0, 7)], [], -1000, 5000, 6, 3000);
  assert.deepEqual(drawn.waiting, [7, 7, 7, 7, null, null]);
  assert.deepEqual(columns([], [], 0, 1000, 2, 1000).waiting, [null, null]);
});

test('a rate is what came and went, evenly between two looks', () => {
  const segments = flows([seen(0, 0, 5), seen(60_000, 0, 600)], [], 60_000, 90_000);
  const drawn = columns([], segments, 0, 60_000, 6, 90_000);
  assert.deepEqual(drawn.done.map(Math.round), [10, 10, 10, 10, 10, 10]);
});

test('live counters go on where the looks end, and nothing told is nothing done', () => {
  // The looks count since the one before; live ones count since the queue was made.
  const kept = [seen(0, 0, 0), seen(10_000, 0, 20)];
  const live = [seen(8000, 0, 1016), seen(12_000, 0, 1024), seen(20_000, 0, 1064)];
  const segments = flows(kept, live, 30_000, 90_000);
  assert.deepEqual(segments.map(({ from, to, done }) => [from, to, done]), [
    [0, 10_000, 20], [10_000, 12_000, 4], [12_000, 20_000, 40], [20_000, 30_000, 0],
  ]);
  assert.equal(rate(segments, 'done', 12_000, 20_000), 5);
  assert.equal(rate(segments, 'done', 20_000, 30_000), 0);
  assert.equal(rate(segments, 'done', 60_000, 70_000), null);
});

test('where nobody looked, and where a counter was started anew, no rate is known', () => {
  assert.deepEqual(flows([seen(0, 0, 1), seen(500_000, 0, 9)], [], 500_000, 90_000), []);
  const restarted = flows([], [seen(0, 0, 1000), seen(5000, 0, 2), seen(10_000, 0, 12)], 10_000, 90_000);
  assert.deepEqual(restarted.map(({ from, done }) => [from, done]), [[5000, 10]]);
});

test('live samples follow those that were kept, without a step back', () => {
  const all = joined([seen(1, 1), seen(5, 2)], [seen(3, 9), seen(5, 9), seen(6, 3)]);
  assert.deepEqual(all.map(({ at }) => at), [1, 5, 6]);
});

test('an alarm was in each state of its history for its time', () => {
  const alarm = { name: 'high', state: 'OK' };
  const at = (ms) => new Date(ms).toISOString();
  const history = [
    { alarm: 'high', at: at(80), old_state: 'ALARM', new_state: 'OK' },
    { alarm: 'other', at: at(60), old_state: 'OK', new_state: 'ALARM' },
    { alarm: 'high', at: at(50), old_state: 'INSUFFICIENT_DATA', new_state: 'ALARM' },
    { alarm: 'high', at: at(5), old_state: 'OK', new_state: 'INSUFFICIENT_DATA' },
  ];
  assert.deepEqual(states(alarm, history, 10, 100), [
    { from: 80, to: 100, state: 'OK' },
    { from: 50, to: 80, state: 'ALARM' },
    { from: 10, to: 50, state: 'INSUFFICIENT_DATA' },
  ]);
  assert.deepEqual(states(alarm, [], 10, 100), [{ from: 10, to: 100, state: 'OK' }]);
});

test('the line through an exact power law has its exponent', () => {
  const points = [1, 2, 5, 10, 100].map((rank) => ({ rank, count: 5000 / rank ** 1.25 }));
  assert.ok(Math.abs(fit(points).slope + 1.25) < 1e-9);
  assert.ok(Math.abs(fit(points).at(10) - points[3].count) < 1e-6);
  assert.equal(fit(points.slice(0, 2)), null);
});

test('no two words of a cloud overlap, and none leaves it', () => {
  const counts = Array.from({ length: 150 }, (_, i) => ({ word: `word${i}`, count: Math.ceil(5000 / (i + 1)) }));
  const placed = layout(counts, 600, 340, (word, size) => word.length * size * 0.55);
  assert.ok(placed.length > 60, `only ${placed.length} words found a place`);
  for (const [i, a] of placed.entries()) {
    assert.ok(a.x - a.half.w >= 0 && a.x + a.half.w <= 600 && a.y - a.half.h >= 0 && a.y + a.half.h <= 340);
    for (const b of placed.slice(0, i)) {
      assert.ok(Math.abs(a.x - b.x) >= a.half.w + b.half.w || Math.abs(a.y - b.y) >= a.half.h + b.half.h, `${a.word} lies on ${b.word}`);
    }
  }
});
