// Messages that were given up, each with its reason: look at them, mend what is wrong, and let them go back.

import { may, post } from '../api.js';
import { integer, plural } from '../format.js';
import { html, useState } from '../html.js';
import { attempt } from '../parts/announce.js';
import { DocumentLink, Empty, More, ProblemNote, Section, Time } from '../parts/basics.js';
import { Confirm } from '../parts/confirm.js';
import { useList, useRefresh } from '../parts/loading.js';
import { Preview } from '../parts/preview.js';

export function DeadLetters() {
  const list = useList('/queue/dead-letters', {}, 50);
  const [asking, setAsking] = useState(false);
  useRefresh(['queue'], list.reload);

  const redrive = async (what) => {
    await attempt(() => post('/queue/redrive', what), ({ redriven }) => `${plural(redriven, 'message')} went back to the queue`);
    list.restart();
  };
  const purge = async (yes) => {
    setAsking(false);
    if (!yes) return;
    await attempt(() => post('/queue/purge', { dead_letters: true }), ({ purged }) => `${plural(purged, 'dead letter')} deleted`);
    list.restart();
  };
  const any = list.items.length > 0;

  return html`
    <${Section} title="Given up" id="letters" actions=${any &&
    html`
        ${may('write') && html`<button onClick=${() => redrive({ all: true })}>Redrive all</button>`}
        ${may('admin') && html`<button class="danger" onClick=${() => setAsking(true)}>Purge</button>`}`}>
      <${ProblemNote} problem=${list.problem} retry=${list.reload} />
      ${!any && !list.next && !list.loading && !list.problem &&
      html`<${Empty} title="There are no dead letters.">
        <p>A document that cannot be counted lands here with its reason, and its neighbours go on. Put right what is wrong, then redrive it.</p><//>`}
      <ol class="letters">
        ${list.items.map((letter) => html`<${Letter} key=${letter.id} letter=${letter} redrive=${() => redrive({ ids: [letter.id] })} />`)}
      </ol>
      <${More} list=${list} what="Dead letters" />
    <//>
    ${asking &&
    html`<${Confirm} title="Purge all dead letters?" action="Purge" onAnswer=${purge}>
      <p>The messages are deleted. Their documents stay in their buckets, uncounted until they are counted again by hand.</p><//>`}
  `;
}

function Letter({ letter, redrive }) {
  const { bucket, key, reason, receive_count: tries, sent_at: sent, died_at: died, body } = letter;
  const known = bucket !== null && key !== null;
  return html`
    <li class="letter">
      <div class="letter-head">
        <span class="grow">${known ? html`<${DocumentLink} bucket=${bucket} name=${key} />` : html`<span class="key">Not an event of a document</span>`}
          ${known && html` <span class="muted">in ${bucket}</span>`}</span>
        ${may('write') && html`<button onClick=${redrive} aria-label=${known ? `Redrive ${key}` : `Redrive message ${letter.id}`}>Redrive</button>`}
      </div>
      <p class="reason" dir="auto">${reason ?? 'no reason was given'}</p>
      <p class="muted">${`Received ${tries === 1 ? 'once' : `${integer(tries)} times`}, sent `}<${Time} at=${sent} />, given up <${Time} at=${died} /></p>
      <div class="letter-body">
        ${known && html`<${Preview} bucket=${bucket} name=${key} />`}
        <details><summary>The message itself</summary><pre dir="auto" tabindex="0" aria-label="The message">${body}</pre></details>
      </div>
    </li>
  `;
}
