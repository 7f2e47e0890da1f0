// From what was seen of queue and fleet, at whatever moments, to columns of equal width that can be drawn. Pure
// functions; times are milliseconds, rates are per second.

/** A rate is taken over at least this time, or single messages would look like a storm. */
const RATE_OVER_MS = 5000;

/**
 * A sample of the API or of live events. `sent` and `deleted` are counts of messages: since the look before in what the API
 * kept, since the queue was made in a live one.
 */
export function sample(at, queue, fleet) {
  return {
    at,
    visible: queue.visible,
    inFlight: queue.in_flight,
    age: queue.oldest_age_seconds,
    sent: queue.sent,
    deleted: queue.deleted,
    inService: fleet.in_service,
    desired: fleet.desired,
  };
}

/** Samples in the order of time, of two ordered lists; the newer list wins where they overlap. */
export function joined(kept, live) {
  const last = kept.at(-1)?.at ?? -Infinity;
  return [...kept, ...live.filter(({ at }) => at > last)];
}

/**
 * Columns from `from` to `to`: `{x (seconds), waiting, inFlight, age, arrived, done, inService, desired}`, all of the
 * same length, from samples and what flowed between them. What stands holds until it is seen anew, but not for longer than `holds`: then nothing is known, and the
 * column is null. Of several samples in a column the greatest backlog and age count, so that a peak stays a peak.
 */
export function columns(samples, segments, from, to, number, holds) {
  const width = (to - from) / number;
  const empty = () => new Array(number).fill(null);
  const found = {
    x: Array.from({ length: number }, (_, i) => (from + (i + 1) * width) / 1000),
    waiting: empty(),
    inFlight: empty(),
    age: empty(),
    inService: empty(),
    desired: empty(),
    arrived: rates(segments, 'arrived', from, width, number),
    done: rates(segments, 'done', from, width, number),
  };
  let next = 0;
  let last = null;
  for (let i = 0; i < number; i += 1) {
    const end = from + (i + 1) * width;
    const peak = { visible: -1, inFlight: -1, age: null };
    while (next < samples.length && samples[next].at <= end) {
      last = samples[next];
      if (last.at > end - width) {
        peak.visible = Math.max(peak.visible, last.visible);
        peak.inFlight = Math.max(peak.inFlight, last.inFlight);
        if (last.age !== null) peak.age = Math.max(peak.age ?? 0, last.age);
      }
      next += 1;
    }
    if (!last || end - last.at > holds) continue;
    const seen = peak.visible >= 0;
    found.waiting[i] = seen ? peak.visible : last.visible;
    found.inFlight[i] = seen ? peak.inFlight : last.inFlight;
    found.age[i] = (seen ? peak.age : last.age) ?? 0;
    found.inService[i] = last.inService;
    found.desired[i] = last.desired;
  }
  return found;
}

/**
 * What came and went between one sample and the next: `[{from, to, arrived, done}]` in the order of time, none on another.
 * Where nothing is known there is none. `now` is the end of the last one, as long as
 * somebody would tell: nothing told is nothing done.
 */
export function flows(kept, live, now, holds) {
  const found = [];
  kept.forEach(({ at, sent, deleted }, i) => {
    const from = kept[i - 1]?.at ?? Infinity;
    if (at > from && at - from <= holds) found.push({ from, to: at, arrived: sent, done: deleted });
  });
  const known = kept.at(-1)?.at ?? -Infinity;
  for (let i = 1; i < live.length; i += 1) {
    const [before, after] = [live[i - 1], live[i]];
    const from = Math.max(before.at, known);
    const arrived = after.sent - before.sent;
    const done = after.deleted - before.deleted;
    // A counter that falls belongs to another queue.
    if (after.at <= from || arrived < 0 || done < 0) continue;
    const share = (after.at - from) / (after.at - before.at);
    found.push({ from, to: after.at, arrived: arrived * share, done: done * share });
  }
  const last = live.at(-1)?.at;
  if (last !== undefined && last >= known && now > last) found.push({ from: last, to: now, arrived: 0, done: 0 });
  return found;
}

/** How much of `field` there was per second between two moments; null if less than half of that time is known. */
export function rate(segments, field, from, to) {
  let amount = 0;
  let known = 0;
  for (const segment of segments) {
    const overlap = Math.min(segment.to, to) - Math.max(segment.from, from);
    if (overlap <= 0) continue;
    known += overlap;
    amount += (segment[field] * overlap) / (segment.to - segment.from);
  }
  return known < (to - from) / 2 ? null : (amount / known) * 1000;
}

function rates(segments, field, from, width, number) {
  const over = Math.max(width, RATE_OVER_MS);
  let first = 0;
  return Array.from({ length: number }, (_, i) => {
    const end = from + (i + 1) * width;
    while (first < segments.length && segments[first].to <= end - over) first += 1;
    let next = first;
    while (next < segments.length && segments[next].from < end) next += 1;
    return rate(segments.slice(first, next), field, end - over, end);
  });
}

/**
 * What state an alarm was in, from its history (newest first) and its state now: `[{from, to, state}]` between two
 * moments.
 */
export function states(alarm, history, from, to) {
  const changes = history.filter((one) => one.alarm === alarm.name).map((one) => ({ ...one, at: Date.parse(one.at) }));
  const found = [];
  let end = to;
  let state = alarm.state;
  for (const change of changes) {
    if (change.at < end) found.push({ from: Math.max(change.at, from), to: end, state });
    state = change.old_state;
    end = Math.min(end, change.at);
    if (end <= from) return found;
  }
  found.push({ from, to: end, state });
  return found;
}
