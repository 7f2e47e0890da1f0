// Requests to the API, and the only place that makes them (but for the stream of events, in live.js). What the server
// refuses becomes a Problem with the server's own words.

import { Cell } from './cell.js';

const ROOT = '/api/v1';

/** What the API refused, or why it could not be reached. `status` is 0 for the latter. */
export class Problem extends Error {
  constructor({ title, detail, status = 0 }) {
    super(detail || title);
    this.name = 'Problem';
    this.title = title;
    this.detail = detail;
    this.status = status;
  }
}

/**
 * Who we are: `{authenticated, scope, csrf, tokens_required, version}`, or null until it is known. A server without
 * tokens answers whoever sits at its machine, with every right.
 */
export const session = new Cell(null);

/** The difference between the server's clock and ours, in milliseconds; the server's is what charts go by. */
let clockOffset = 0;
export const serverNow = () => Date.now() + clockOffset;

const RANK = { read: 1, write: 2, admin: 3 };

/** Whether the session may do what needs `scope`. */
export function may(scope, current = session.value) {
  if (!current) return false;
  return !current.tokens_required || RANK[current.scope] >= RANK[scope];
}

/** A path of the API with a query; what is null, undefined or '' is left out of it. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const search = new URLSearchParams(given).toString();
  return ROOT + path + (search ? `?${search}` : '');
}

async function problemOf(response) {
  if (response.status === 401) signedOut();
  const known = response.headers.get('content-type')?.includes('json') ? await response.json().catch(() => null) : null;
  return new Problem({
    title: known?.title ?? response.statusText,
    detail: known?.detail ?? `the server answered ${response.status}`,
    status: response.status,
  });
}

function signedOut() {
  const current = session.value;
  if (current?.authenticated) session.value = { ...current, authenticated: false, scope: null, csrf: null };
}

async function request(method, path, { query, body, signal } = {}) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET' && session.value?.csrf) headers['X-CSRF-Token'] = session.value.csrf;
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: 'same-origin',
      redirect: 'error',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem({ title: 'Not reachable', detail: 'the server does not answer; is wordfreq up still running?' });
  }
  noteClock(response.headers.get('date'));
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/** HTTP dates have whole seconds: a difference below two of them is not told apart from none. */
function noteClock(date) {
  const offset = Date.parse(date) + 500 - Date.now();
  clockOffset = Math.abs(offset) < 2000 || Number.isNaN(offset) ? 0 : offset;
}

export const get = (path, query, signal) => request('GET', path, { query, signal });
export const post = (path, body, query) => request('POST', path, { query, body });
export const put = (path, body) => request('PUT', path, { body });
export const remove = (path, query) => request('DELETE', path, { query });

/** Asks who we are. */
export async function loadSession() {
  session.value = await get('/session');
}

/** Exchanges a token for a session. */
export async function signIn(token) {
  await post('/session', { token });
  await loadSession();
}

/** Ends the session. */
export async function signOut() {
  await remove('/session');
  await loadSession();
}

/**
 * Puts a file into a bucket; answers the document. `onProgress` gets the bytes sent so far. Not by fetch, which does
 * not tell how far an upload is.
 */
export function upload(bucket, key, file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open('PUT', address('/document', { bucket, key }));
    sending.setRequestHeader('Content-Type', file.type || 'application/octet-stream');
    if (session.value?.csrf) sending.setRequestHeader('X-CSRF-Token', session.value.csrf);
    sending.responseType = 'json';
    sending.upload.onprogress = (event) => onProgress(event.loaded);
    sending.onload = () => {
      if (sending.status >= 200 && sending.status < 300) return resolve(sending.response);
      if (sending.status === 401) signedOut();
      const { title, detail } = sending.response ?? {};
      return reject(
        new Problem({ title, detail: detail ?? `the server answered ${sending.status}`, status: sending.status }),
      );
    };
    sending.onerror = () =>
      reject(new Problem({ title: 'Not reachable', detail: 'the connection was lost, or the file cannot be read' }));
    sending.onabort = () => reject(new DOMException('the upload was cancelled', 'AbortError'));
    signal?.addEventListener('abort', () => sending.abort(), { once: true });
    sending.send(file);
  });
}
