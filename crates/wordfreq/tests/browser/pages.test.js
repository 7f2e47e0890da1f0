// Every view, light and dark, on a desktop and on a phone: nothing that axe-core finds wrong, nothing that sticks out.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { eachView, seeded } from './seed.js';
import { DESKTOP, PHONE, accessibility, closeBrowser, dataDirectory, eventually, open, up, wordfreq } from './system.js';

let url;
let end;
const suite = { after: (all) => (end = all) };

before(async () => {
  const system = await seeded(suite);
  url = system.url;
  await eventually(async () => {
    const { documents } = JSON.parse(await wordfreq(['results', 'totals', '--format', 'json'], system.directory));
    assert.ok(documents >= 18, `${documents} documents are counted`);
  });
});

after(async () => {
  await end();
  await closeBrowser();
});

async function check(page, name) {
  assert.deepEqual(await accessibility(page), [], name);
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(tooWide <= 0, `${name} is ${tooWide} pixels wider than the window`);
}

for (const theme of ['light', 'dark']) {
  for (const [device, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    test(`every view is accessible and fits, ${theme}, ${device}`, async (t) => {
      const page = await open(t, url, '#/overview', { theme, size });
      await page.getByText('Live', { exact: true }).waitFor();
      await eachView(page, url, (name) => check(page, name));
    });
  }
}

test('a sign-in, a question and an error are accessible too', async (t) => {
  const page = await open(t, url, '#/document?bucket=processing&key=the-tide-clerk.txt');
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').waitFor();
  await check(page, 'a question');
  await page.goto(`${url}/#/nowhere`);
  await page.getByText('There is no such view.').waitFor();
  await check(page, 'no such view');

  const directory = await dataDirectory(t);
  await wordfreq(['token', 'create', '--name', 'test', '--scope', 'admin'], directory);
  const closed = await up(t, directory);
  const signIn = await open(t, closed.url, '', { size: PHONE, expected: /status of 401/ });
  await signIn.getByLabel('Token').fill('wrong');
  await signIn.keyboard.press('Enter');
  await signIn.getByRole('alert').waitFor();
  await check(signIn, 'sign-in');
});
