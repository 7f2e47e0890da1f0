// Numbers, sizes and times as people read them. Pure functions; the interface speaks English, times are those of the
// reader's own time zone.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const compactly = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayAndClock = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const dayOfYear = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

/** What stands where nothing is known. */
export const NOTHING = '–';

const orNothing = (format) => (value) => (value === null || value === undefined ? NOTHING : format(value));

/** 12345 -> "12,345" */
export const integer = orNothing((value) => whole.format(value));

/** 1234567 -> "1.2M" */
export const compact = orNothing((value) => (Math.abs(value) < 10_000 ? whole : compactly).format(value));

/** A rate or a share: three digits that matter, and no more. */
export const decimal = orNothing((value) => (Math.abs(value) >= 100 ? whole : significant).format(value));

/** 1 document, 2 documents */
export const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;

/** 123456 -> "123 kB"; powers of ten, as disks and networks have them. */
export const bytes = orNothing((value) => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? whole.format(value) : tenths.format(value)} ${units[unit]}`;
});

/** Seconds as the two largest units: "3.2 ms", "12 s", "2 min 5 s", "3 h 20 min", "2 d 4 h". */
export const duration = orNothing((seconds) => {
  if (seconds === 0) return '0 s';
  if (seconds < 0.001) return `${significant.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${significant.format(seconds * 1e3)} ms`;
  if (seconds < 10) return `${tenths.format(seconds)} s`;
  const total = Math.round(seconds);
  const parts = [
    [Math.floor(total / 86_400), 'd'],
    [Math.floor(total / 3600) % 24, 'h'],
    [Math.floor(total / 60) % 60, 'min'],
    [total % 60, 's'],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => `${number} ${unit}`)
    .join(' ');
});

/** A time as short as it is clear: the clock today, the day with it this year, else the date. */
export function time(at, now = new Date()) {
  const date = new Date(at);
  if (date.toDateString() === now.toDateString()) return clock.format(date);
  if (date.getFullYear() === now.getFullYear()) return dayAndClock.format(date);
  return dayOfYear.format(date);
}
