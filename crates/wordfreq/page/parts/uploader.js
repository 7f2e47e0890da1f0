// Where files are dropped or chosen, and what becomes of them.

import { may } from '../api.js';
import { useCell } from '../cell.js';
import { bytes, integer, plural } from '../format.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { href } from '../router.js';
import { add, again, cancel, clear, dropped, picked, uploads } from '../uploads.js';
import { say } from './announce.js';
import { State } from './basics.js';

/** So many of the files are shown; all of them are in the summary. */
const SHOWN = 50;
const UNDER_WAY = ['queued', 'sending', 'waiting'];

export function Uploader({ buckets, bucket, onBucket }) {
  const [over, setOver] = useState(false);
  const filesInput = useRef(null);
  const folderInput = useRef(null);
  const allowed = may('write');
  // Whether a file is being dragged over the page: leaving one element is entering the next.
  const depth = useRef(0);

  useEffect(() => {
    if (!allowed) return undefined;
    const holdsFiles = (event) => event.dataTransfer?.types.includes('Files');
    const enter = (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      depth.current += 1;
      setOver(true);
    };
    const leave = (event) => {
      if (!holdsFiles(event)) return;
      depth.current -= 1;
      if (depth.current <= 0) setOver(false);
    };
    const hover = (event) => {
      if (holdsFiles(event)) event.preventDefault();
    };
    const drop = async (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      depth.current = 0;
      setOver(false);
      try {
        add(bucket, await dropped(event.dataTransfer));
      } catch (error) {
        say(`the dropped files cannot be read: ${error.message}`, true);
      }
    };
    const listeners = { dragenter: enter, dragleave: leave, dragover: hover, drop };
    for (const [kind, listener] of Object.entries(listeners)) addEventListener(kind, listener);
    return () => {
      for (const [kind, listener] of Object.entries(listeners)) removeEventListener(kind, listener);
    };
  }, [bucket, allowed]);

  if (!allowed) return html`<p class="note">This token may read only: to put files, sign in with one of scope write.</p>`;
  const triggers = buckets.find(({ name }) => name === bucket)?.triggers ?? true;
  const choose = (input) => (event) => {
    add(bucket, picked(event.target.files));
    input.current.value = '';
  };
  return html`
    <div class=${over ? 'drop over' : 'drop'}>
      <p class="drop-words"><strong>Drop files or folders here</strong> <span class="muted">or anywhere on this page</span></p>
      <div class="drop-controls">
        <button onClick=${() => filesInput.current.click()}>Choose files</button>
        <button onClick=${() => folderInput.current.click()}>Choose a folder</button>
        <label class="inline">into bucket
          <select value=${bucket} onChange=${(event) => onBucket(event.target.value)}>
            ${buckets.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
          </select>
        </label>
        <input ref=${filesInput} type="file" multiple hidden aria-label="Files to put" onChange=${choose(filesInput)} />
        <input ref=${folderInput} type="file" webkitdirectory hidden aria-label="Folder to put" onChange=${choose(folderInput)} />
      </div>
      ${!triggers && html`<p class="muted">This bucket keeps documents without counting them.</p>`}
    </div>
    <${Progress} />
  `;
}

function Progress() {
  const all = useCell(uploads);
  if (all.length === 0) return null;
  const number = (...states) => all.filter(({ state }) => states.includes(state)).length;
  const total = all.reduce((sum, one) => sum + one.bytes, 0);
  const sent = all.reduce((sum, one) => sum + one.sent, 0);
  const under = number(...UNDER_WAY);
  const parts = [
    [number('queued', 'sending'), 'to send'],
    [number('waiting'), 'waiting'],
    [number('counted'), 'counted'],
    [number('kept'), 'kept'],
    [number('failed'), 'failed'],
    [number('refused'), 'refused'],
    [number('cancelled'), 'cancelled'],
    [number('gone'), 'deleted meanwhile'],
  ].filter(([n]) => n > 0);
  // What needs a look first, then what is under way, then the newest.
  const order = ['refused', 'failed', 'sending', 'queued', 'waiting'];
  const rank = ({ state }) => (order.includes(state) ? order.indexOf(state) : order.length);
  const shown = [...all].sort((a, b) => rank(a) - rank(b) || b.id - a.id).slice(0, SHOWN);
  return html`
    <div class="uploads">
      <div class="uploads-head">
        <p role="status">${plural(all.length, 'file')}: ${parts.map(([n, what]) => `${integer(n)} ${what}`).join(', ')}</p>
        <progress value=${total === 0 ? 1 : sent} max=${total === 0 ? 1 : total} aria-label=${`${bytes(sent)} of ${bytes(total)} sent`}></progress>
        <span class="muted number">${bytes(sent)} of ${bytes(total)}</span>
        ${under < all.length && html`<button class="plain" onClick=${clear}>Clear what is over</button>`}
      </div>
      <ul class="rows">
        ${shown.map(
          (one) => html`<li key=${one.id}>
            <span class="grow"><a class="key" href=${href('document', { bucket: one.bucket, key: one.key })}><bdi>${one.key}</bdi></a>
              ${one.reason && html` <span class="bad-text" dir="auto">${one.reason}</span>`}</span>
            ${one.state === 'counted' && html`<span class="number">${integer(one.words)} <span class="unit">words</span></span>`}
            <span class="muted number">${one.state === 'sending' && one.bytes > 0 ? `${Math.floor((one.sent / one.bytes) * 100)} %` : bytes(one.bytes)}</span>
            <${State} of=${one.state} />
            ${['queued', 'sending'].includes(one.state) && html`<button class="plain" onClick=${() => cancel(one.id)} aria-label=${`Cancel ${one.key}`}>Cancel</button>`}
            ${['refused', 'cancelled'].includes(one.state) && html`<button class="plain" onClick=${() => again(one.id)} aria-label=${`Try ${one.key} again`}>Again</button>`}
          </li>`,
        )}
      </ul>
      ${all.length > SHOWN && html`<p class="muted">${integer(all.length - SHOWN)} more are not shown.</p>`}
    </div>
  `;
}
