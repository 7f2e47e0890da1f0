// What must hold before the modules of the page run, and what is shown where they do not.
'use strict';

{
  // Some builds of browsers name a language that is none ("en-US@posix"), at which the chart library would end the page.
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, 'language', { value: 'en' });
  }

  // In the capture phase, as a file that cannot be loaded tells nobody else.
  const broken = (event) => {
    if (document.getElementById('root')?.hasChildNodes()) return;
    const note = document.getElementById('broken');
    if (!note) return;
    note.hidden = false;
    note.querySelector('output').textContent = event.message ?? 'a file of it could not be loaded';
  };
  addEventListener('error', broken, true);
}
