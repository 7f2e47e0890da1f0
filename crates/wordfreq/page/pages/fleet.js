// The workers: how many there are and may be, each of them, and why they came and went.

import { may, put } from '../api.js';
import { useCell } from '../cell.js';
import { NOTHING, decimal, duration, integer } from '../format.js';
import { html, useEffect, useState } from '../html.js';
import { fleet as live } from '../live.js';
import { attempt } from '../parts/announce.js';
import { Empty, Figure, Foreign, More, ProblemNote, Section, State, Table, Time } from '../parts/basics.js';
import { useAnswer, useList, useRefresh } from '../parts/loading.js';

const MOST_WORKERS = 1024;

export function Fleet() {
  const asked = useAnswer('/fleet');
  const told = useCell(live);
  const fleet = told ?? asked.data;
  const alarms = useAnswer('/fleet/alarms');
  useRefresh(['alarm', 'queue'], alarms.reload, 5000);
  if (!fleet) return html`<${ProblemNote} problem=${asked.problem} retry=${asked.reload} />`;
  return html`
    <dl class="figures-strip">
      <${Figure} name="In service" value=${integer(fleet.in_service)} unit=${fleet.in_service === 1 ? 'worker' : 'workers'} />
      <${Figure} name="Desired" value=${integer(fleet.desired)} unit=${`of ${fleet.min} to ${fleet.max}`} />
      <${Figure} name="Pending" value=${integer(fleet.pending)} />
      <${Figure} name="Terminating" value=${integer(fleet.terminating)} />
      <${Figure} name="A document takes" value=${duration(fleet.service_seconds)}>${fleet.service_seconds === null && 'not measured yet'}<//>
      <${Figure} name="Plan" value=${html`<${Foreign}>${fleet.plan}<//>`}>${fleet.time_scale !== 1 && `${decimal(fleet.time_scale)} times as fast as time`}<//>
    </dl>
    ${!fleet.running && html`<p class="note">No scaler is running: this is how it left things.</p>`}
    <${Instances} instances=${fleet.instances} />
    <div class="halves">
      <${Alarms} alarms=${alarms} />
      <${Bounds} fleet=${fleet} />
    </div>
    <div class="halves"><${Activities} /><${AlarmHistory} /></div>
  `;
}

function Instances({ instances }) {
  return html`
    <${Section} title="Instances" id="instances">
      ${instances.length === 0
        ? html`<${Empty} title="No worker runs."><p>With a least size of 0 this is what an idle fleet looks like: the next document starts one.</p><//>`
        : html`<${Table} label="Instances" head=${html`
            <th scope="col">Instance</th><th scope="col">State</th><th scope="col" class="wide-only">Health</th><th scope="col" class="number wide-only">Process</th>
            <th scope="col" class="number">Holds</th><th scope="col" class="number">Documents</th><th scope="col" class="number wide-only">Launched</th><th scope="col" class="wide-only">Note</th>`}>
          ${instances.map(
            (one) => html`<tr key=${one.id}><th scope="row" class="key">${one.id}</th><td><${State} of=${one.state} /></td>
              <td class="wide-only">${one.health}</td><td class="number wide-only">${one.process ?? NOTHING}</td><td class="number">${integer(one.held)}</td>
              <td class="number">${integer(one.documents)}</td><td class="number wide-only"><${Time} at=${one.launched_at} /></td>
              <td class="wide-only"><${Foreign}>${one.note}<//></td></tr>`,
          )}
        <//>`}
    <//>
  `;
}

function Alarms({ alarms }) {
  const items = alarms.data?.items ?? [];
  return html`
    <${Section} title="Alarms" id="alarms">
      <${ProblemNote} problem=${alarms.problem} retry=${alarms.reload} />
      ${items.length === 0 && !alarms.loading && html`<p class="quiet">This plan has no alarms: the size is fixed.</p>`}
      <ul class="alarms">
        ${items.map(
          (alarm) => html`<li key=${alarm.name}>
            <div class="letter-head"><strong class="grow"><${Foreign}>${alarm.name}<//></strong><${State} of=${alarm.state} /><span class="muted">since <${Time} at=${alarm.since} /></span></div>
            <p>${decimal(alarm.value)} <span class="muted">against a threshold of</span> ${decimal(alarm.threshold)}</p>
            <p class="muted">${alarm.rule}</p>
            ${alarm.reason && html`<p class="muted" dir="auto">${alarm.reason}</p>`}
          </li>`,
        )}
      </ul>
    <//>
  `;
}

function Bounds({ fleet }) {
  const [typed, setTyped] = useState(null);
  const shown = typed ?? { min: fleet.min, max: fleet.max };
  // Once the server has what was typed, it leads again.
  useEffect(() => {
    if (typed && typed.min === fleet.min && typed.max === fleet.max) setTyped(null);
  }, [fleet.min, fleet.max, typed]);
  const wrong =
    !Number.isInteger(shown.min) || !Number.isInteger(shown.max) || shown.min < 0 || shown.max > MOST_WORKERS
      ? `Both are whole numbers from 0 to ${MOST_WORKERS}.`
      : shown.min > shown.max
        ? 'The least must not be more than the most.'
        : null;
  const submit = async (event) => {
    event.preventDefault();
    if (wrong) return;
    await attempt(() => put('/fleet/bounds', shown), `the fleet may now have ${shown.min} to ${shown.max} workers`);
  };
  const field = (name, label) => html`
    <label class="field narrow">${label}
      <input type="number" min="0" max=${MOST_WORKERS} step="1" required value=${Number.isNaN(shown[name]) ? '' : shown[name]}
        aria-describedby="bounds-note" aria-invalid=${String(wrong !== null)} onInput=${(event) => setTyped({ ...shown, [name]: event.target.valueAsNumber })} />
    </label>`;
  return html`
    <${Section} title="Bounds" id="bounds">
      ${may('admin')
        ? html`<form class="filters" onSubmit=${submit} novalidate>
            ${field('min', 'Least workers')}${field('max', 'Most workers')}
            <button type="submit" disabled=${wrong !== null || typed === null}>Set</button>
            ${typed && html`<button type="button" class="plain" onClick=${() => setTyped(null)}>Undo</button>`}
          </form>`
        : html`<p>${fleet.min} to ${fleet.max} workers. To set them, sign in with a token of scope admin.</p>`}
      <p id="bounds-note" class=${wrong ? 'bad-text' : 'muted'} role="status">${wrong ??
      (fleet.bounds_set_by_hand
        ? 'Set by hand: kept until the next orderly start of wordfreq up.'
        : 'As the settings have it. What is set here is taken at once.')}</p>
    <//>
  `;
}

function Activities() {
  const list = useList('/fleet/activities', {}, 25);
  useRefresh(['activity'], list.reload);
  return html`
    <${Section} title="Activity log" id="activities">
      <${ProblemNote} problem=${list.problem} retry=${list.reload} />
      ${list.items.length === 0 && !list.next && !list.loading && html`<p class="quiet">Nothing was launched or terminated yet.</p>`}
      <ol class="log">
        ${list.items.map(
          (one) => html`<li key=${`${one.instance}${one.started_at}${one.description}`}>
            <div class="letter-head"><span class="grow"><${Foreign}>${one.description}<//>${one.description.includes(one.instance) ? '' : html` <span class="key">${one.instance}</span>`}</span>
              <${State} of=${one.status} /><span class="muted number"><${Time} at=${one.started_at} /></span></div>
            <p class="muted" dir="auto">${one.cause}</p>
            ${one.message && html`<p class="bad-text" dir="auto">${one.message}</p>`}
          </li>`,
        )}
      </ol>
      <${More} list=${list} what="Activities" />
    <//>
  `;
}

function AlarmHistory() {
  const list = useList('/fleet/alarms/history', {}, 25);
  useRefresh(['alarm'], list.reload);
  return html`
    <${Section} title="Alarm history" id="alarm-history">
      <${ProblemNote} problem=${list.problem} retry=${list.reload} />
      ${list.items.length === 0 && !list.next && !list.loading && html`<p class="quiet">No alarm has changed its state yet.</p>`}
      <ol class="log">
        ${list.items.map(
          (one) => html`<li key=${`${one.alarm}${one.at}`}>
            <div class="letter-head"><span class="grow"><${Foreign}>${one.alarm}<//></span><span><${State} of=${one.old_state} /> to <${State} of=${one.new_state} /></span>
              <span class="muted number"><${Time} at=${one.at} /></span></div>
            <p class="muted" dir="auto">${one.reason}</p>
          </li>`,
        )}
      </ol>
      <${More} list=${list} what="Changes" />
    <//>
  `;
}
