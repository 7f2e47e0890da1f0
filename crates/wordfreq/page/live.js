// What the server tells by itself: one stream of events for the whole page, opened again whenever it breaks, and closed
// while nobody looks at the page, as a browser has few connections to one server. Not here: what is done with them.

import { address, loadSession } from './api.js';
import { Cell } from './cell.js';

/** 'connecting', 'live', 'lost' (and trying again) or 'paused' (nobody looks). */
export const connection = new Cell('connecting');
/** Grows with each connection: what was missed in between has to be asked for again. */
export const generation = new Cell(0);

/** The queue and the fleet as they are now, or null before the first event. */
export const queue = new Cell(null);
export const fleet = new Cell(null);
/** How many documents have a result, or null before the first event. */
export const counted = new Cell(null);
/** What was counted or failed last, the newest first. */
export const recent = new Cell([]);

const RECENT_AT_MOST = 20;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;

const listeners = { queue: new Set(), fleet: new Set(), documents: new Set(), alarm: new Set(), activity: new Set() };
let source = null;
let retry = 0;
let wait = FIRST_RETRY_MS;
let wanted = false;

/** Calls `listener` with the data of each event of this kind; answers the function that ends this. */
export function on(kind, listener) {
  listeners[kind].add(listener);
  return () => listeners[kind].delete(listener);
}

/** Begins to listen, and goes on until `stop`. */
export function start() {
  if (wanted) return;
  wanted = true;
  document.addEventListener('visibilitychange', follow);
  follow();
}

/** Ends listening. */
export function stop() {
  wanted = false;
  document.removeEventListener('visibilitychange', follow);
  close();
  for (const cell of [queue, fleet, counted]) cell.value = null;
  recent.value = [];
}

function follow() {
  if (document.hidden) {
    close();
    connection.value = 'paused';
  } else if (!source) {
    open();
  }
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

function open() {
  close();
  if (connection.value !== 'lost') connection.value = 'connecting';
  source = new EventSource(address('/events'));
  source.onopen = () => {
    wait = FIRST_RETRY_MS;
    connection.value = 'live';
    generation.value += 1;
  };
  // The browser itself would try again after some failures and not after others; so we always do it ourselves.
  source.onerror = async () => {
    close();
    connection.value = 'lost';
    retry = setTimeout(reopen, wait);
    wait = Math.min(wait * 2, LONGEST_RETRY_MS);
  };
  for (const kind of Object.keys(listeners)) {
    source.addEventListener(kind, (event) => {
      const data = JSON.parse(event.data);
      if (kind === 'queue') queue.value = data;
      if (kind === 'fleet') fleet.value = data;
      if (kind === 'documents') {
        counted.value = data.counted;
        recent.value = data.recent.concat(recent.value).slice(0, RECENT_AT_MOST);
      }
      for (const listener of [...listeners[kind]]) listener(data);
    });
  }
}

/** A stream that ended may mean that the session did; then the page asks to sign in, and this is not called again. */
async function reopen() {
  try {
    await loadSession();
  } catch {
    // Still not reachable, which the page shows already; the stream's own failure leads to the next try.
  }
  if (wanted && !document.hidden) open();
}
