// Exchanges a token for a session. The token itself is kept nowhere in the page.

import { signIn } from '../api.js';
import { html, useEffect, useRef, useState } from '../html.js';
import { ProblemNote } from '../parts/basics.js';

export function SignIn() {
  const field = useRef(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(field.current.value.trim());
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
      field.current.select();
    }
  };
  return html`
    <section class="sign-in" aria-labelledby="sign-in">
      <h2 id="sign-in">Sign in</h2>
      <p>This wordfreq serves only those with a token.</p>
      <form onSubmit=${submit}>
        <label class="field">Token<input ref=${field} type="password" required autocomplete="current-password" spellcheck=${false} /></label>
        <button type="submit" class="primary" disabled=${busy}>${busy ? 'Signing in' : 'Sign in'}</button>
      </form>
      <${ProblemNote} problem=${problem} />
      <p class="muted">Whoever can read its data directory makes one with <code>wordfreq token create</code>.</p>
    </section>
  `;
}
