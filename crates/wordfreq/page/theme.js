// Light, dark, or as the system has it. Loaded before the page is drawn, so that the wrong one is never seen; what
// was chosen is kept in this browser. Not here: the colours (style.css).
'use strict';

{
  const KEY = 'wordfreq-theme';
  const THEMES = ['system', 'light', 'dark'];

  // A browser that keeps nothing (private mode, blocked storage) has the system's theme each time.
  const kept = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch (error) {
      console.info('the theme is not kept:', error.message);
    }
  };

  window.wordfreqTheme = {
    names: THEMES,
    get current() {
      return document.documentElement.dataset.theme ?? 'system';
    },
    choose(theme) {
      if (theme === 'system') delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
      keep(theme);
      window.dispatchEvent(new Event('wordfreq-theme'));
    },
  };
  const theme = kept();
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
}
