// The words of all documents together: the frequency list, its shape, and one word in particular.

import { useCell } from '../cell.js';
import { Bars } from '../charts/bars.js';
import { Cloud } from '../charts/cloud.js';
import { Zipf } from '../charts/zipf.js';
import { decimal, integer, plural } from '../format.js';
import { html } from '../html.js';
import { Choice, DocumentLink, Download, Empty, Figure, More, ProblemNote, Section, Table, WordLink, shown } from '../parts/basics.js';
import { useAnswer, useList, useRefresh } from '../parts/loading.js';
import { SearchField } from '../parts/search_field.js';
import { href, place, refine } from '../router.js';

const VIEWS = [
  ['bars', 'Bars'],
  ['zipf', 'Zipf plot'],
  ['cloud', 'Cloud'],
];
const BARS = 25;
const CLOUD_WORDS = 120;
const ZIPF_POINTS = 200;
/** A ranking is made anew for each answer; a busy pipeline must not ask for one with every document. */
const REFRESH_MS = 10_000;

export function Words() {
  const { query } = useCell(place);
  const view = VIEWS.some(([name]) => name === query.view) ? query.view : 'bars';
  const list = useList('/words', { prefix: query.prefix, q: query.q });
  useRefresh(['documents'], list.reload, REFRESH_MS);
  const { answer } = list;
  const filtered = Boolean(query.prefix || query.q);

  return html`
    ${query.word !== undefined && html`<${OneWord} key=${query.word} word=${query.word} />`}
    <div class="halves lists">
      <${Section} title="Frequency list" id="list" actions=${html`
          <${Download} path="/words" query=${{ prefix: query.prefix, q: query.q, format: 'csv' }} name="words.csv">Export CSV<//>
          <${Download} path="/words" query=${{ prefix: query.prefix, q: query.q, format: 'ndjson' }} name="words.ndjson">NDJSON<//>`}>
        <div class="filters" role="search">
          <${SearchField} label="Begins with" name="prefix" value=${query.prefix ?? ''} />
          <${SearchField} label="Contains" name="q" value=${query.q ?? ''} />
        </div>
        ${answer && html`<p class="muted">${plural(answer.words, 'word')}, ${integer(answer.distinct)} distinct, in ${plural(answer.documents, 'document')}</p>`}
        <${ProblemNote} problem=${list.problem} retry=${list.reload} />
        ${list.items.length === 0 && !list.next && !list.loading && !list.problem
          ? filtered
            ? html`<${Empty} title="No word is like that."><button onClick=${() => refine({ prefix: null, q: null })}>Show all words</button><//>`
            : html`<${Empty} title="No words have been counted yet."><p>Put documents on <a href=${href('documents')}>Documents</a>; the list grows as they are counted.</p><//>`
          : html`<${Table} label="Words by frequency" head=${html`
                <th scope="col" class="number">Rank</th><th scope="col">Word</th><th scope="col" class="number">Count</th>
                <th scope="col" class="number">Per million</th><th scope="col" class="number wide-only">Documents</th>`}>
              ${list.items.map(
                (one) => html`<tr key=${one.word}>
                  <td class="number muted">${integer(one.rank)}</td><th scope="row"><${WordLink} word=${one.word} /></th>
                  <td class="number">${integer(one.count)}</td><td class="number">${decimal(one.per_million)}</td>
                  <td class="number wide-only">${integer(one.documents)}</td></tr>`,
              )}
            <//>
            <${More} list=${list} what="Words" />`}
      <//>
      <div>
        <${Lookup} word=${query.word} />
        <${Section} title="The shape of it" id="shape" actions=${html`<${Choice} label="Chart" options=${VIEWS} value=${view} onChange=${(value) => refine({ view: value })} />`}>
          ${view === 'zipf' ? html`<${ZipfView} />` : html`<${TopView} view=${view} />`}
        <//>
      </div>
    </div>
  `;
}

function Lookup({ word }) {
  const look = (event) => {
    event.preventDefault();
    refine({ word: new FormData(event.target).get('word') });
  };
  return html`
    <${Section} title="Look up a word" id="lookup">
      <form class="filters" onSubmit=${look}>
        <label class="field">Word<input name="word" type="search" dir="auto" required defaultValue=${word ?? ''} autocomplete="off" spellcheck=${false} /></label>
        <button type="submit">Look up</button>
      </form>
    <//>
  `;
}

function OneWord({ word }) {
  const found = useAnswer('/word', { word });
  const list = useList('/word/documents', { word }, 10);
  useRefresh(['documents'], found.reload, REFRESH_MS);
  const one = found.data;
  return html`
    <${Section} title=${html`<bdi class="word">${shown(one?.word ?? word)}</bdi>`} id="word" actions=${html`
        ${one?.count > 0 && html`<${Download} path="/word/documents" query=${{ word, format: 'csv' }} name="documents-with-word.csv">Export CSV<//>`}
        <button onClick=${() => refine({ word: null })}>Close</button>`}>
      <${ProblemNote} problem=${found.problem} retry=${found.reload} />
      ${one && one.word !== word && html`<p class="muted">Counted as <bdi class="word">${one.word}</bdi>, as the profile writes <bdi>${word}</bdi>.</p>`}
      ${one &&
      html`<dl class="figures-strip">
        <${Figure} name="Count" value=${integer(one.count)} />
        <${Figure} name="Per million" value=${decimal(one.per_million)} unit="of all words" />
        <${Figure} name="Documents" value=${integer(one.documents)} />
        <${Figure} name="Rank" value=${integer(one.rank)} />
      </dl>`}
      ${one?.count === 0 && html`<p class="quiet">This word is in no document that was counted.</p>`}
      ${list.items.length > 0 &&
      html`<${Table} label="Documents with this word" head=${html`
            <th scope="col">Key</th><th scope="col" class="wide-only">Bucket</th><th scope="col" class="number">Count</th>
            <th scope="col" class="number wide-only">Of words</th><th scope="col" class="number">Per million</th>`}>
          ${list.items.map(
            (item) => html`<tr key=${`${item.bucket}/${item.key}`}><th scope="row"><${DocumentLink} bucket=${item.bucket} name=${item.key} /></th>
              <td class="wide-only">${item.bucket}</td><td class="number">${integer(item.count)}</td>
              <td class="number wide-only">${integer(item.words)}</td><td class="number">${decimal(item.per_million)}</td></tr>`,
          )}
        <//>`}
      <${ProblemNote} problem=${list.problem} />
      <${More} list=${list} what="Documents" />
    <//>
  `;
}

function TopView({ view }) {
  const number = view === 'cloud' ? CLOUD_WORDS : BARS;
  const totals = useAnswer('/totals', { top: number });
  useRefresh(['documents'], totals.reload, REFRESH_MS);
  const counts = totals.data?.counts;
  if (totals.problem) return html`<${ProblemNote} problem=${totals.problem} retry=${totals.reload} />`;
  if (!counts) return html`<p class="quiet">Loading</p>`;
  if (counts.length === 0) return html`<p class="quiet">There is nothing to draw yet.</p>`;
  return view === 'cloud' ? html`<${Cloud} counts=${counts} />` : html`<${Bars} counts=${counts} label="The most frequent words" />`;
}

function ZipfView() {
  const answer = useAnswer('/words/zipf', { points: ZIPF_POINTS });
  useRefresh(['documents'], answer.reload, REFRESH_MS);
  if (answer.problem) return html`<${ProblemNote} problem=${answer.problem} retry=${answer.reload} />`;
  if (!answer.data) return html`<p class="quiet">Loading</p>`;
  const { points, words, distinct } = answer.data;
  if (points.length === 0) return html`<p class="quiet">There is nothing to draw yet.</p>`;
  return html`<${Zipf} points=${points} words=${words} distinct=${distinct} />`;
}
