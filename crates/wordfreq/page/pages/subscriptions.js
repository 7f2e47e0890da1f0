// Who is told about what, by webhook or mail, and whether it reached them.

import { may, post, remove } from '../api.js';
import { NOTHING, integer, plural } from '../format.js';
import { html, useEffect, useState } from '../html.js';
import { attempt } from '../parts/announce.js';
import { Empty, Foreign, More, ProblemNote, Section, State, Table, Time } from '../parts/basics.js';
import { Confirm } from '../parts/confirm.js';
import { useAnswer, useList } from '../parts/loading.js';

const PENDING_MS = 3000;
const EVENTS = [
  ['document.counted', 'A document was counted'],
  ['document.failed', 'A document failed'],
  ['batch.idle', 'The queue came to rest'],
  ['alarm.changed', 'An alarm changed its state'],
];

export function Subscriptions() {
  if (!may('admin')) return html`<p class="note">Subscriptions are for tokens of scope admin: sign in with one.</p>`;
  return html`<${List} />`;
}

function List() {
  const list = useList('/subscriptions', {});
  const buckets = useAnswer('/buckets');
  const [secret, setSecret] = useState(null);
  const [leaving, setLeaving] = useState(null);
  const [open, setOpen] = useState(null);

  // No event tells that somebody agreed; as long as one has not, it is asked for.
  const pending = list.items.some(({ state }) => state === 'pending');
  useEffect(() => {
    if (!pending) return undefined;
    const timer = setInterval(list.reload, PENDING_MS);
    return () => clearInterval(timer);
  }, [pending, list.reload]);

  const added = (made) => {
    setSecret(made.secret ? made : null);
    list.restart();
  };
  const removed = async (yes) => {
    setLeaving(null);
    if (yes && (await attempt(() => remove(`/subscriptions/${encodeURIComponent(leaving.id)}`), `${leaving.target} is told no more`))) list.restart();
  };
  const resend = (one) =>
    attempt(() => post(`/subscriptions/${encodeURIComponent(one.id)}/resend-confirmation`), `${one.target} is asked again to confirm`);

  return html`
    <${Section} title="New subscription" id="new"><${New} buckets=${buckets.data?.items ?? []} onMade=${added} />
      ${secret &&
      html`<div class="note" role="status"><p>Messages to <bdi class="key">${secret.target}</bdi> are signed with this secret. It is shown only now:</p>
        <p><code class="secret">${secret.secret}</code></p></div>`}
    <//>
    <${Section} title="Subscriptions" id="subscriptions">
      <${ProblemNote} problem=${list.problem ?? buckets.problem} retry=${list.reload} />
      ${list.items.length === 0 && !list.next && !list.loading && !list.problem &&
      html`<${Empty} title="Nobody is told anything yet."><p>Add a webhook or a mail address above. It is asked to confirm first, and told nothing before it has.</p><//>`}
      <ul class="letters">
        ${list.items.map(
          (one) => html`<li key=${one.id} class="letter">
            <div class="letter-head"><span class="grow key"><${Foreign}>${one.target}<//></span><${State} of=${one.state} />
              ${one.state === 'pending' && html`<button onClick=${() => resend(one)} aria-label=${`Ask ${one.target} again`}>Ask again</button>`}
              <button aria-expanded=${String(open === one.id)} onClick=${() => setOpen(open === one.id ? null : one.id)} aria-label=${`Deliveries to ${one.target}`}>Deliveries</button>
              <button class="danger" onClick=${() => setLeaving(one)} aria-label=${`Delete ${one.target}`}>Delete</button></div>
            <p class="muted">${one.events.join(', ')}${one.bucket ? `, of bucket ${one.bucket}` : ''}; since <${Time} at=${one.created_at} />${one.pending > 0 && `; ${plural(one.pending, 'delivery', 'deliveries')} to come`}${one.missed > 0 && `; ${plural(one.missed, 'event')} missed`}</p>
            ${one.note && html`<p class="bad-text" dir="auto">${one.note}</p>`}
            ${open === one.id && html`<${Deliveries} id=${one.id} />`}
          </li>`,
        )}
      </ul>
      <${More} list=${list} what="Subscriptions" />
    <//>
    ${leaving && html`<${Confirm} title="Delete this subscription?" action="Delete" onAnswer=${removed}><p><bdi class="key">${leaving.target}</bdi> is told nothing from now on.</p><//>`}
  `;
}

function New({ buckets, onMade }) {
  const [events, setEvents] = useState(['document.failed', 'batch.idle']);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const given = new FormData(form);
    const target = given.get('target').trim();
    const body = { target: target.includes('://') || target.startsWith('mailto:') ? target : `mailto:${target}`, events };
    if (given.get('bucket')) body.bucket = given.get('bucket');
    await attempt(async () => {
      onMade(await post('/subscriptions', body));
      form.reset();
    }, `${target} is asked to confirm`);
  };
  const toggle = (name) => (event) => setEvents(event.target.checked ? [...events, name] : events.filter((one) => one !== name));
  return html`
    <form onSubmit=${submit}>
      <div class="filters">
        <label class="field">Webhook or mail address<input name="target" required maxlength="2000" placeholder="https://example.org/hook or someone@example.org" autocomplete="off" spellcheck=${false} /></label>
        <label class="field">Bucket<select name="bucket"><option value="">All buckets</option>${buckets.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
      </div>
      <fieldset><legend>Tell it when</legend>
        ${EVENTS.map(([name, text]) => html`<label key=${name} class="check"><input type="checkbox" checked=${events.includes(name)} onChange=${toggle(name)} />${text}</label>`)}
      </fieldset>
      <button type="submit" disabled=${events.length === 0}>Subscribe</button>
    </form>
  `;
}

function Deliveries({ id }) {
  const list = useList(`/subscriptions/${encodeURIComponent(id)}/deliveries`, {}, 25);
  if (list.problem) return html`<${ProblemNote} problem=${list.problem} retry=${list.reload} />`;
  if (list.items.length === 0) return html`<p class="quiet">${list.loading ? 'Loading' : 'Nothing was sent yet.'}</p>`;
  return html`
    <${Table} label="Deliveries" head=${html`<th scope="col">Event</th><th scope="col">Status</th><th scope="col" class="number">Tries</th>
        <th scope="col" class="number">Happened</th><th scope="col" class="number wide-only">Next try</th><th scope="col" class="wide-only">Answer</th>`}>
      ${list.items.map(
        (one) => html`<tr key=${one.id}><th scope="row">${one.event}</th><td><${State} of=${one.status} /></td><td class="number">${integer(one.attempts)}</td>
          <td class="number"><${Time} at=${one.created_at} /></td><td class="number wide-only"><${Time} at=${one.next_attempt_at} /></td>
          <td class="wide-only"><${Foreign}>${one.last_error ?? one.response ?? NOTHING}<//></td></tr>`,
      )}
    <//>
    <button class="plain" onClick=${list.restart}>Look again</button>
    <${More} list=${list} what="Deliveries" />
  `;
}
