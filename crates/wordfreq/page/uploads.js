// Files on their way into a bucket. They go on while other views are looked at, a few at a time, and are followed until
// they are counted. Not here: how they look (parts/uploader.js).

import { get, upload } from './api.js';
import { Cell } from './cell.js';
import { on } from './live.js';

const AT_ONCE = 4;
/** So many of those still waiting are asked for after an event, as an event names but the newest documents. */
const ASKED_AT_ONCE = 10;
const ASK_EVERY_MS = 1000;

/** All files of this visit, in order: `{id, bucket, key, file, bytes, sent, state, reason}`, replaced as a whole on change. */
export const uploads = new Cell([]);

/** Those that were not begun yet, in order. */
const queued = [];
const stops = new Map();
let sending = 0;
let lastId = 0;
let redraw = 0;
let changes = new Map();
let asking = false;

/** Changes come by the hundred while many files go; the list is made anew a few times a second. */
function change(id, fields) {
  changes.set(id, { ...changes.get(id), ...fields });
  if (!redraw) redraw = setTimeout(apply, 100);
}

function apply() {
  redraw = 0;
  const due = changes;
  changes = new Map();
  uploads.value = uploads.value.map((one) => (due.has(one.id) ? { ...one, ...due.get(one.id) } : one));
}

/** What a file's state is, with changes not drawn yet. */
const current = (one) => ({ ...one, ...changes.get(one.id) });

/** Puts files (`[{key, file}]`) into a bucket. */
export function add(bucket, chosen) {
  const added = chosen.map(({ key, file }) => {
    lastId += 1;
    return { id: lastId, bucket, key, file, bytes: file.size, sent: 0, state: 'queued', reason: null };
  });
  uploads.value = [...uploads.value, ...added];
  queued.push(...added);
  fill();
}

function fill() {
  while (sending < AT_ONCE && queued.length > 0) send(queued.shift());
}

async function send({ id, bucket, key, file }) {
  const stop = new AbortController();
  stops.set(id, stop);
  sending += 1;
  change(id, { state: 'sending' });
  try {
    const put = await upload(bucket, key, file, { onProgress: (sent) => change(id, { sent }), signal: stop.signal });
    // It may have been counted before the answer came: what an event said of this very version stands.
    const state = settled.get(`${bucket}\0${key}\0${put.sequence}`) ?? { state: put.state, reason: put.reason };
    change(id, { ...state, sent: file.size, sequence: put.sequence });
  } catch (problem) {
    const cancelled = problem.name === 'AbortError';
    change(id, { state: cancelled ? 'cancelled' : 'refused', reason: cancelled ? null : problem.message });
  } finally {
    stops.delete(id);
    sending -= 1;
    fill();
  }
}

/** Stops a file that is not there yet. */
export function cancel(id) {
  const place = queued.findIndex((one) => one.id === id);
  if (place >= 0) {
    queued.splice(place, 1);
    change(id, { state: 'cancelled' });
  }
  stops.get(id)?.abort();
}

/** Tries again what was refused or cancelled. */
export function again(id) {
  change(id, { state: 'queued', sent: 0, reason: null });
  queued.push(uploads.value.find((one) => one.id === id));
  fill();
}

/** Forgets all that is over. */
export function clear() {
  const over = new Set(['counted', 'failed', 'kept', 'refused', 'cancelled', 'gone']);
  uploads.value = uploads.value.map(current).filter(({ state }) => !over.has(state));
}

/** What events said of versions whose upload was not answered yet; as few as can matter. */
const settled = new Map();
const SETTLED_AT_MOST = 1000;

on('documents', ({ recent }) => {
  const waiting = new Map(
    uploads.value.map(current).filter(({ state }) => state === 'waiting').map((one) => [`${one.bucket}\0${one.key}\0${one.sequence}`, one]),
  );
  for (const { bucket, key, sequence, state, reason, words } of recent) {
    const name = `${bucket}\0${key}\0${sequence}`;
    const one = waiting.get(name);
    if (one) change(one.id, { state, reason, words });
    settled.set(name, { state, reason, words });
    if (settled.size > SETTLED_AT_MOST) settled.delete(settled.keys().next().value);
  }
  ask();
});

/** Asks for those that no event named, for as long as that brings anything. */
async function ask() {
  if (asking) return;
  asking = true;
  try {
    let settledNow = 0;
    do {
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
      const waiting = uploads.value.map(current).filter(({ state }) => state === 'waiting').slice(0, ASKED_AT_ONCE);
      const states = await Promise.all(waiting.map(askFor));
      settledNow = states.filter((state) => state !== 'waiting').length;
    } while (settledNow > 0);
  } catch (problem) {
    // Not reachable, which the page shows; the next event asks again.
    console.info('uploads are not followed:', problem.message);
  } finally {
    asking = false;
  }
}

async function askFor({ id, bucket, key }) {
  try {
    const { state, reason, words } = await get('/document', { bucket, key, top: 1 });
    if (state !== 'waiting') change(id, { state, reason, words });
    return state;
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    change(id, { state: 'gone' });
    return 'gone';
  }
}

addEventListener('beforeunload', (event) => {
  if (sending > 0) event.preventDefault();
});

/** The files of a drop, folders followed into their depths, as `[{key, file}]`. */
export async function dropped(transfer) {
  const entries = [...transfer.items].filter(({ kind }) => kind === 'file').map((item) => item.webkitGetAsEntry());
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ key: entry.fullPath.replace(/^\//, ''), file });
      return;
    }
    const reader = entry.createReader();
    // A reader gives a folder in parts, and an empty part at its end.
    for (;;) {
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (part.length === 0) return;
      for (const child of part) await walk(child);
    }
  };
  for (const entry of entries) if (entry) await walk(entry);
  return found;
}

/** The files of a file picker, as `[{key, file}]`. */
export const picked = (list) => [...list].map((file) => ({ key: file.webkitRelativePath || file.name, file }));
