// Asks before what cannot be undone. The browser's own modal dialog: it keeps the focus, and Escape means no.

import { html, useEffect, useRef } from '../html.js';

/** `onAnswer` is called with whether to go ahead. */
export function Confirm({ title, children, action, onAnswer }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  return html`
    <dialog ref=${dialog} aria-labelledby="confirm-title" onClose=${() => onAnswer(dialog.current.returnValue === 'yes')}>
      <h2 id="confirm-title">${title}</h2>
      ${children}
      <div class="actions">
        <button onClick=${() => dialog.current.close('no')} autofocus>Cancel</button>
        <button class="danger" onClick=${() => dialog.current.close('yes')}>${action}</button>
      </div>
    </dialog>
  `;
}
