// The documents of the buckets: putting more, and finding those that are there.

import { useCell } from '../cell.js';
import { NOTHING, bytes, integer } from '../format.js';
import { html, useState } from '../html.js';
import { DocumentLink, Download, Empty, More, ProblemNote, Section, State, Table, Time } from '../parts/basics.js';
import { useAnswer, useList, useRefresh } from '../parts/loading.js';
import { SearchField } from '../parts/search_field.js';
import { Uploader } from '../parts/uploader.js';
import { place, refine } from '../router.js';

const STATES = ['waiting', 'counted', 'failed', 'kept'];

export function Documents() {
  const { query } = useCell(place);
  const buckets = useAnswer('/buckets');
  const names = buckets.data?.items ?? [];
  const firstTrigger = (names.find(({ name, triggers }) => triggers && name === 'processing') ?? names.find(({ triggers }) => triggers))?.name ?? names[0]?.name ?? 'processing';
  const [into, setInto] = useState(null);
  const asked = { bucket: query.bucket, state: query.state, q: query.q };
  const list = useList('/documents', asked);
  useRefresh(['documents'], list.reload);
  useRefresh(['documents'], buckets.reload, 5000);
  const filtered = Boolean(query.bucket || query.state || query.q);

  return html`
    <${Section} title="Put documents" id="put">
      <${Uploader} buckets=${names.length > 0 ? names : [{ name: 'processing', triggers: true }]} bucket=${into ?? query.bucket ?? firstTrigger} onBucket=${setInto} />
    <//>
    <${Section} title="In the buckets" id="documents" actions=${html`
        <${Download} path="/documents" query=${{ ...asked, format: 'csv' }} name="documents.csv">Export CSV<//>
        <${Download} path="/documents" query=${{ ...asked, format: 'ndjson' }} name="documents.ndjson">NDJSON<//>`}>
      <div class="filters" role="search">
        <${SearchField} label="Key contains" name="q" value=${query.q ?? ''} placeholder="letters/2026" />
        <label class="field">Bucket
          <select value=${query.bucket ?? ''} onChange=${(event) => refine({ bucket: event.target.value })}>
            <option value="">All buckets</option>
            ${names.map(({ name, documents }) => html`<option key=${name} value=${name}>${name} (${integer(documents)})</option>`)}
          </select>
        </label>
        <label class="field">State
          <select value=${query.state ?? ''} onChange=${(event) => refine({ state: event.target.value })}>
            <option value="">All states</option>
            ${STATES.map((state) => html`<option key=${state} value=${state}>${state}</option>`)}
          </select>
        </label>
      </div>
      <${ProblemNote} problem=${list.problem ?? buckets.problem} retry=${list.reload} />
      ${list.items.length === 0 && !list.next && !list.loading && !list.problem
        ? filtered
          ? html`<${Empty} title="No document is like that.">
              <button onClick=${() => refine({ q: null, bucket: null, state: null })}>Show all documents</button><//>`
          : html`<${Empty} title="There are no documents yet.">
              <p>Drop files above, or put them from a terminal: <code>wordfreq upload letters/ --bucket processing</code></p><//>`
        : html`<${Table} label="Documents" className="documents" head=${html`
              <th scope="col">Key</th><th scope="col" class="wide-only">Bucket</th><th scope="col">State</th>
              <th scope="col" class="number">Words</th><th scope="col" class="number wide-only">Distinct</th>
              <th scope="col" class="number wide-only">Size</th><th scope="col" class="number wide-only">Put</th>`}>
            ${list.items.map(
              (item) => html`<tr key=${`${item.bucket}/${item.key}`}>
                <th scope="row"><${DocumentLink} bucket=${item.bucket} name=${item.key} /></th>
                <td class="wide-only">${item.bucket}</td>
                <td><${State} of=${item.state} /></td>
                <td class="number">${item.words === null ? NOTHING : integer(item.words)}</td>
                <td class="number wide-only">${integer(item.distinct)}</td>
                <td class="number wide-only">${bytes(item.bytes)}</td>
                <td class="number wide-only"><${Time} at=${item.put_at} /></td>
              </tr>`,
            )}
          <//>
          <${More} list=${list} what="Documents" />`}
    <//>
  `;
}
