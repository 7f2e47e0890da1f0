// From what was seen of queue and fleet, at whatever moments, to columns of equal width that can be drawn. Pure
// functions; times are milliseconds, rates are per second.

/** A rate is taken over at least this time, or single messages would look like a storm. */
const RATE_OVER_MS = 5000;

/** A sample from an answer of the API or from live events. */
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
 * same length. What stands holds until it is seen anew, but not for longer than `holds`: then nothing is known, and the
 * column is null. Of several samples in a column the greatest backlog and age count, so that a peak stays a peak.
 */
export function columns(samples, from, to, number, holds) {
  const width = (to - from) / number;
  const empty = () => new Array(number).fill(null);
  const found = {
    x: Array.from({ length: number }, (_, i) => (from + (i + 1) * width) / 1000),
    waiting: empty(),
    inFlight: empty(),
    age: empty(),
    inService: empty(),
    desired: empty(),
    arrived: rates(samples, 'sent', from, width, number, holds),
    done: rates(samples, 'deleted', from, width, number, holds),
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

/** How fast a counter grew up to the end of each column. A counter that falls was started anew: nothing is known. */
function rates(samples, field, from, width, number, holds) {
  const over = Math.max(width, RATE_OVER_MS);
  const at = counter(samples, field, holds);
  return Array.from({ length: number }, (_, i) => {
    const end = from + (i + 1) * width;
    const [before, after] = [at(end - over), at(end)];
    if (before === null || after === null || after < before) return null;
    return ((after - before) / over) * 1000;
  });
}

/** A counter's value at any moment, evenly between the samples around it. */
function counter(samples, field, holds) {
  return (moment) => {
    let low = 0;
    let high = samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (samples[middle].at <= moment) low = middle + 1;
      else high = middle;
    }
    const before = samples[low - 1];
    const after = samples[low];
    if (!before) return null;
    if (!after) return moment - before.at > holds ? null : before[field];
    if (after.at - before.at > holds) return null;
    const share = (moment - before.at) / (after.at - before.at);
    return before[field] + (after[field] - before[field]) * share;
  };
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
