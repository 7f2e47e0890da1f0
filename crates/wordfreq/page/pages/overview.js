// The whole system at a glance, live: how much waits, who works on it, what the alarms say, and what was counted last.

import { get, serverNow } from '../api.js';
import { useCell } from '../cell.js';
import { columns, flows, joined, rate, sample } from '../charts/samples.js';
import { Timeline } from '../charts/timeline.js';
import { NOTHING, decimal, duration, integer, plural } from '../format.js';
import { html, useEffect, useMemo, useState } from '../html.js';
import { connection, counted, fleet, generation, on, queue, recent } from '../live.js';
import { Choice, DocumentLink, Empty, Figure, Foreign, ProblemNote, Section, State, Time } from '../parts/basics.js';
import { useAnswer, useRefresh } from '../parts/loading.js';
import { href, place, refine } from '../router.js';

const SPANS = [
  ['5', '5 min'],
  ['15', '15 min'],
  ['60', '1 h'],
  ['360', '6 h'],
  ['1440', '24 h'],
];
const SPAN_LABELS = { 5: 'the last 5 minutes', 15: 'the last 15 minutes', 60: 'the last hour', 360: 'the last 6 hours', 1440: 'the last 24 hours' };
const COLUMNS = 240;
const POINTS = 1000;
/** The scaler looks at least once a minute; what it saw holds for a while longer. */
const HOLDS_MS = 150_000;
const REFETCH_MS = 15_000;
const LIVE_AT_MOST = 4000;
const RECENT = 10;
const RATE_OVER_MS = 10_000;

/** What was seen of queue and fleet: what the server kept, and what it told since. */
function useSamples(minutes) {
  const [kept, setKept] = useState({ samples: [], problem: null, loaded: false });
  const [live] = useState([]);
  const connected = useCell(generation);

  useEffect(() => {
    const abort = new AbortController();
    const load = async () => {
      try {
        const { items } = await get('/fleet/metrics', { minutes, points: POINTS }, abort.signal);
        const samples = items.map((item) => sample(Date.parse(item.at), item, item));
        const last = samples.at(-1)?.at ?? 0;
        // The one before the first that is newer stays: what flowed between the two is known by it.
        const newer = live.findIndex(({ at }) => at > last);
        live.splice(0, (newer < 0 ? live.length : newer) - 1);
        setKept({ samples, problem: null, loaded: true });
      } catch (problem) {
        if (problem.name !== 'AbortError') setKept((before) => ({ ...before, problem }));
      }
    };
    load();
    const timer = setInterval(load, REFETCH_MS);
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [minutes, connected]);

  useEffect(() => {
    const seen = () => {
      // A fleet whose clock goes faster has times of its own: then only what it kept itself is drawn.
      if (!queue.value || !fleet.value || fleet.value.time_scale !== 1) return;
      live.push(sample(serverNow(), queue.value, fleet.value));
      if (live.length > LIVE_AT_MOST) live.splice(0, live.length - LIVE_AT_MOST);
    };
    seen();
    const ends = [on('queue', seen), on('fleet', seen)];
    return () => ends.forEach((end) => end());
  }, []);
  return { ...kept, live };
}

/** The time, again and again: the charts move with it. Less often where motion is not wanted. */
function useNow() {
  const [now, setNow] = useState(serverNow());
  useEffect(() => {
    const every = matchMedia('(prefers-reduced-motion: reduce)').matches ? 5000 : 1000;
    const timer = setInterval(() => setNow(serverNow()), every);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function Figures({ finished, totals }) {
  const backlog = useCell(queue);
  const workers = useCell(fleet);
  const documents = useCell(counted);
  return html`
    <dl class="figures-strip">
      <${Figure} name="Waiting" value=${integer(backlog?.visible)} unit="messages">${backlog?.delayed > 0 && `${integer(backlog.delayed)} more are delayed`}<//>
      <${Figure} name="In flight" value=${integer(backlog?.in_flight)} unit="messages" />
      <${Figure} name="Oldest" value=${duration(backlog?.oldest_age_seconds)} />
      <${Figure} name="Workers" value=${integer(workers?.in_service)} unit=${workers ? `of ${workers.desired} desired` : ''}>
        ${workers && `${workers.min} to ${workers.max}${workers.pending ? `, ${workers.pending} pending` : ''}${workers.terminating ? `, ${workers.terminating} terminating` : ''}`}<//>
      <${Figure} name="Finished" value=${decimal(finished)} unit="messages/s" />
      <${Figure} name="Counted" value=${integer(documents)} unit="documents">${totals && `${plural(totals.words, 'word')}, ${integer(totals.distinct)} distinct`}<//>
      <${Figure} name="Dead letters" value=${integer(backlog?.dead_letters)} tone=${backlog?.dead_letters > 0 ? 'bad' : ''}>
        ${backlog?.dead_letters > 0 && html`<a href=${href('dead-letters')}>Look at them</a>`}<//>
    </dl>
  `;
}

function Recent() {
  const items = useCell(recent).slice(0, RECENT);
  return html`
    <${Section} title="Just counted" id="recent" actions=${html`<a href=${href('documents')}>All documents</a>`}>
      ${items.length === 0
        ? html`<p class="quiet">Documents appear here as they are counted.</p>`
        : html`<ol class="rows">
            ${items.map(
              (item) => html`<li key=${`${item.bucket}/${item.key}/${item.sequence}`}>
                <span class="grow"><${DocumentLink} bucket=${item.bucket} name=${item.key} /></span>
                ${item.state === 'failed' ? html`<${State} of="failed" />` : html`<span class="number">${integer(item.words)} <span class="unit">words</span></span>`}
                <span class="muted number"><${Time} at=${item.committed_at ?? item.put_at} /></span>
              </li>`,
            )}
          </ol>`}
    <//>
  `;
}

function Activities({ items }) {
  return html`
    <${Section} title="Fleet activity" id="activity" actions=${html`<a href=${href('fleet')}>The fleet</a>`}>
      ${items.length === 0
        ? html`<p class="quiet">Launches and terminations appear here.</p>`
        : html`<ol class="rows">
            ${items.slice(0, RECENT).map(
              (one) => html`<li key=${`${one.instance}${one.started_at}${one.description}`} title=${one.cause}>
                <span class="grow"><${Foreign}>${one.description}<//>${one.description.includes(one.instance) ? '' : html` <span class="key">${one.instance}</span>`}</span>
                <${State} of=${one.status} />
                <span class="muted number"><${Time} at=${one.started_at} /></span>
              </li>`,
            )}
          </ol>`}
    <//>
  `;
}

export function Overview() {
  const { query } = useCell(place);
  const minutes = SPAN_LABELS[query.minutes] ? query.minutes : '15';
  const { samples: kept, live, problem, loaded } = useSamples(minutes);
  const now = useNow();
  const state = useCell(connection);
  const workers = useCell(fleet);
  const documents = useCell(counted);
  const backlog = useCell(queue);
  const alarms = useAnswer('/fleet/alarms');
  const history = useAnswer('/fleet/alarms/history', { limit: 200 });
  const activities = useAnswer('/fleet/activities', { limit: 200 });
  const totals = useAnswer('/totals', { top: 1 });
  useRefresh(['alarm', 'queue'], alarms.reload, 5000);
  useRefresh(['alarm'], history.reload);
  useRefresh(['activity'], activities.reload);
  useRefresh(['documents'], totals.reload, 5000);

  const end = workers && workers.time_scale !== 1 ? (kept.at(-1)?.at ?? now) : now;
  const samples = joined(kept, live);
  const segments = flows(kept, live, state === 'live' ? end : -Infinity, HOLDS_MS);
  // Between the last look that was kept and the first live event nothing is known: then what was known last is shown.
  const looked = kept.at(-1)?.at ?? end;
  const finished = rate(segments, 'done', end - RATE_OVER_MS, end) ?? rate(segments, 'done', looked - RATE_OVER_MS, looked);
  const width = (Number(minutes) * 60_000) / COLUMNS;
  const to = Math.ceil(end / width) * width;
  const from = to - width * COLUMNS;
  const drawn = useMemo(() => columns(samples, segments, from, to, COLUMNS, HOLDS_MS), [kept, live.length, from, to]);
  const nothingYet = documents === 0 && backlog?.sent === 0;

  return html`
    <${Figures} finished=${finished} totals=${totals.data} />
    ${nothingYet &&
    html`<${Empty} title="Nothing has been put into a bucket yet.">
      <p>Drop files on <a href=${href('documents')}>Documents</a>, or put them from a terminal:
        <code>wordfreq upload letters/ --bucket processing</code></p>
    <//>`}
    ${workers && !workers.running && html`<p class="note">No scaler is running: the sizes below are those it left.</p>`}
    <${ProblemNote} problem=${problem ?? alarms.problem ?? activities.problem} />
    <${Section} title="Queue and fleet over time" id="timeline" actions=${html`<${Choice} label="Time span" options=${SPANS} value=${minutes}
      onChange=${(value) => refine({ minutes: value })} />`}>
      ${loaded || live.length > 0
        ? html`<${Timeline} key=${minutes} columns=${drawn} from=${from} to=${to} spanLabel=${SPAN_LABELS[minutes]}
            alarms=${alarms.data?.items ?? []} history=${history.data?.items ?? []} activities=${activities.data?.items ?? []} />`
        : html`<p class="quiet">${problem ? NOTHING : 'Loading'}</p>`}
    <//>
    <div class="halves"><${Recent} /><${Activities} items=${activities.data?.items ?? []} /></div>
  `;
}
