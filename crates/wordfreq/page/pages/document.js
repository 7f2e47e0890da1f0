// One document: how it stands, its words, and what can be done with it.

import { get, may, post, remove } from '../api.js';
import { useCell } from '../cell.js';
import { Bars } from '../charts/bars.js';
import { NOTHING, bytes, duration, integer } from '../format.js';
import { html, useState } from '../html.js';
import { attempt } from '../parts/announce.js';
import { Download, Empty, ProblemNote, Section, State, Time } from '../parts/basics.js';
import { Confirm } from '../parts/confirm.js';
import { useLoaded, useRefresh } from '../parts/loading.js';
import { Preview } from '../parts/preview.js';
import { WordTable } from '../parts/word_table.js';
import { go, href, place } from '../router.js';

const TOP = 20;
const TABLE = 1000;

export function DocumentPage() {
  const { query } = useCell(place);
  return html`<${Deletable} key=${`${query.bucket}\0${query.key}`} bucket=${query.bucket ?? ''} name=${query.key ?? ''} />`;
}

/** A document, or that it is being deleted; meanwhile nothing here asks for it, as there may be none to answer with. */
function Deletable({ bucket, name }) {
  const [deleting, setDeleting] = useState(false);
  const destroy = async () => {
    setDeleting(true);
    const from = place.value;
    const done = await attempt(() => remove('/document', { bucket, key: name }), `${name} is deleted`);
    if (!done) setDeleting(false);
    else if (place.value === from) go('documents', { bucket });
  };
  if (deleting) return html`<p class="quiet" role="status">Deleting <bdi class="key">${name}</bdi></p>`;
  return html`<${One} bucket=${bucket} name=${name} onDelete=${destroy} />`;
}

function One({ bucket, name, onDelete }) {
  const key = name;
  const found = useLoaded((signal) => get('/document', { bucket, key, top: TABLE }, signal), [bucket, key]);
  const [asking, setAsking] = useState(false);
  const item = found.data;
  // An event names but the newest documents; while this one waits, any may be the one that it was counted in.
  const concerns = (event) => item?.state === 'waiting' || event.recent.some((one) => one.bucket === bucket && one.key === key);
  useRefresh(['documents'], found.reload, undefined, concerns);
  const file = key.split('/').at(-1) || 'document';

  const recount = async () => {
    await attempt(() => post('/document/recount', undefined, { bucket, key }), `${key} will be counted again`);
    found.reload();
  };
  const answered = (yes) => {
    setAsking(false);
    if (yes) onDelete();
  };

  return html`
    <p class="crumbs"><a href=${href('documents')}>Documents</a> / <a href=${href('documents', { bucket })}>${bucket}</a></p>
    <${Section} title=${html`<bdi class="key">${key}</bdi>`} id="document" actions=${item &&
    html`
        <${Download} path="/document/content" query=${{ bucket, key }} name=${file}>Download<//>
        ${may('write') && item.state !== 'kept' && html`<button onClick=${recount}>Recount</button>`}
        ${may('write') && html`<button class="danger" onClick=${() => setAsking(true)}>Delete</button>`}`}>
      ${found.problem?.status === 404
        ? html`<${Empty} title="There is no such document."><p dir="auto">${found.problem.message}</p><//>`
        : html`<${ProblemNote} problem=${found.problem} retry=${found.reload} />`}
      ${item && html`<${Facts} item=${item} />`}
      ${item?.state === 'failed' && html`<div class="problem"><p><strong>Not counted.</strong> <span dir="auto">${item.reason}</span></p>
        <a class="button" href=${href('dead-letters')}>Dead letters</a></div>`}
      ${item?.state === 'waiting' && item.words === null && html`<p class="note" role="status">This document waits to be counted; its words appear here by themselves.</p>`}
    <//>
    ${item?.words === 0 && html`<${Empty} title="No words in it."><p>The document was counted, and the profile finds no word in it.</p><//>`}
    ${item?.words > 0 &&
    html`
      <div class="halves">
        <div>
          <${Section} title="Top words" id="top"><${Bars} counts=${item.counts.slice(0, TOP)} label="The most frequent words" /><//>
          <${Beginning} item=${item} />
        </div>
        <${Section} title="All words" id="all" actions=${html`
            <${Download} path="/document" query=${{ bucket, key, all: true, format: 'csv' }} name=${`${file}.words.csv`}>Export CSV<//>
            <${Download} path="/document" query=${{ bucket, key, all: true, format: 'ndjson' }} name=${`${file}.words.ndjson`}>NDJSON<//>`}>
          <${WordTable} counts=${item.counts} words=${item.words} distinct=${item.distinct} />
        <//>
      </div>`}
    ${item && !item.words && html`<${Beginning} item=${item} />`}
    ${asking &&
    html`<${Confirm} title="Delete this document?" action="Delete" onAnswer=${answered}>
      <p><bdi class="key">${key}</bdi> leaves the bucket ${bucket}, and its words leave the totals. This cannot be undone.</p><//>`}
  `;
}

function Beginning({ item: { bucket, key, sequence } }) {
  return html`<${Section} title="Beginning of the text" id="preview"><${Preview} key=${sequence} bucket=${bucket} name=${key} /><//>`;
}

function Facts({ item }) {
  const facts = [
    ['State', html`<${State} of=${item.state} />`],
    ['Words', integer(item.words)],
    ['Distinct', integer(item.distinct)],
    ['Over long', integer(item.over_long)],
    ['Size', bytes(item.bytes)],
    ['Type', item.content_type ?? NOTHING],
    ['Put', html`<${Time} at=${item.put_at} />`],
    ['Counted', html`<${Time} at=${item.committed_at} />`],
    ['Took', item.duration_us === null ? NOTHING : duration(item.duration_us / 1e6)],
    ['Version', item.sequence],
    ['Profile', item.fingerprint ?? NOTHING],
  ];
  return html`<dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
