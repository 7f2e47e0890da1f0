// The frame of the page: where it begins, what stands above every view, and which view is shown.

import { loadSession, session, signOut } from './api.js';
import { useCell } from './cell.js';
import { integer } from './format.js';
import { html, render, useEffect, useLayoutEffect, useRef, useState } from './html.js';
import { connection, queue, start, stop } from './live.js';
import { DeadLetters } from './pages/dead_letters.js';
import { DocumentPage } from './pages/document.js';
import { Documents } from './pages/documents.js';
import { Fleet } from './pages/fleet.js';
import { Overview } from './pages/overview.js';
import { SignIn } from './pages/sign_in.js';
import { Subscriptions } from './pages/subscriptions.js';
import { Words } from './pages/words.js';
import { Announcements, attempt } from './parts/announce.js';
import { Empty, ProblemNote } from './parts/basics.js';
import { href, place } from './router.js';

/** Each view by its path. Those with `in` stand under another one in the navigation. */
const VIEWS = {
  overview: { title: 'Overview', view: Overview },
  documents: { title: 'Documents', view: Documents },
  document: { title: 'Document', view: DocumentPage, in: 'documents' },
  words: { title: 'Words', view: Words },
  'dead-letters': { title: 'Dead letters', view: DeadLetters },
  fleet: { title: 'Fleet', view: Fleet },
  subscriptions: { title: 'Subscriptions', view: Subscriptions },
};

const CONNECTION = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Connection lost, trying again',
  paused: 'Paused',
};

function App() {
  const who = useCell(session);
  const { path } = useCell(place);
  const [problem, setProblem] = useState(null);
  const load = () => loadSession().then(() => setProblem(null), setProblem);
  useEffect(() => {
    load();
  }, []);
  const welcome = Boolean(who && (who.authenticated || !who.tokens_required));
  useEffect(() => {
    if (!welcome) return undefined;
    start();
    return stop;
  }, [welcome]);

  const view = VIEWS[path];
  const heading = useHeading(welcome ? (view?.title ?? 'Not found') : 'Sign in', path);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} who=${who} welcome=${welcome} path=${view?.in ?? path} />
    <main id="main" tabindex="-1">
      <h1 ref=${heading} tabindex="-1" class=${welcome ? '' : 'visually-hidden'}>${welcome ? (view?.title ?? 'Not found') : 'wordfreq'}</h1>
      ${problem && html`<${ProblemNote} problem=${problem} retry=${load} />`}
      ${who && !welcome && html`<${SignIn} />`}
      ${welcome && view && html`<${view.view} />`}
      ${welcome && !view && html`<${Empty} title="There is no such view."><a href=${href('overview')}>To the overview</a><//>`}
    </main>
    <${Announcements} />
  `;
}

/** The address belongs to the views, so the skip link moves the focus by itself. */
function skip(event) {
  event.preventDefault();
  document.getElementById('main').focus();
}

/** The heading takes the focus when another view is shown, as a new page would give it to its beginning. */
function useHeading(title, path) {
  const heading = useRef(null);
  const shown = useRef(path);
  useLayoutEffect(() => {
    document.title = `${title} · wordfreq`;
    if (shown.current === path) return;
    shown.current = path;
    heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [title, path]);
  return heading;
}

function Header({ who, welcome, path }) {
  const state = useCell(connection);
  const dead = useCell(queue)?.dead_letters ?? 0;
  const nav = useRef(null);
  // On a phone the views do not all fit beside each other.
  useEffect(() => {
    const current = nav.current?.querySelector('[aria-current]');
    if (current) nav.current.scrollLeft = current.offsetLeft - (nav.current.clientWidth - current.offsetWidth) / 2;
  }, [path, welcome]);
  return html`
    <header>
      <div class="bar">
        <a class="brand" href=${href('overview')}><img src="/page/icon.svg" alt="" width="20" height="20" />wordfreq</a>
        ${welcome &&
        html`<nav ref=${nav} aria-label="Views">
          ${Object.entries(VIEWS)
            .filter(([, view]) => !view.in)
            .map(
              ([name, { title }]) => html`<a key=${name} href=${href(name)} aria-current=${name === path ? 'page' : null}>${title}${name === 'dead-letters' && dead > 0
                ? html` <span class="badge">${integer(dead)}</span>`
                : ''}</a>`,
            )}
        </nav>`}
        <div class="bar-end">
          ${welcome && html`<span class=${`connection ${state}`} role="status">${CONNECTION[state]}</span>`}
          <${Theme} />
          ${welcome && who.tokens_required && html`<button class="plain" onClick=${() => attempt(signOut, 'signed out')}>Sign out</button>`}
        </div>
      </div>
    </header>
  `;
}

function Theme() {
  const { wordfreqTheme: theme } = window;
  const [current, setCurrent] = useState(theme.current);
  const choose = (event) => {
    theme.choose(event.target.value);
    setCurrent(theme.current);
  };
  return html`
    <label class="theme"><span class="visually-hidden">Colours</span>
      <select value=${current} onChange=${choose}>
        <option value="system">System</option><option value="light">Light</option><option value="dark">Dark</option>
      </select>
    </label>
  `;
}

render(html`<${App} />`, document.getElementById('root'));
