// What people do with the page, in a real browser against a real `wordfreq up`: put documents and watch them become
// results, see the fleet grow, find a word, mend a dead letter, sign in. Each test has a data directory of its own.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { QUICK_PLAN, burst, damagedScan } from './seed.js';
import { LIBRARY, PHONE, beside, closeBrowser, dataDirectory, drop, eventually, open, up, wordfreq } from './system.js';

after(closeBrowser);

const section = (page, name) => page.getByRole('region', { name, exact: true });

/** Reads one of the figures at the top of a view, such as `Counted`. */
const figure = (page, name) => page.locator('.figure', { has: page.getByText(name, { exact: true }) }).locator('.figure-value');

test('dropped files and folders become results while one watches', async (t) => {
  const directory = await dataDirectory(t);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/documents');
  await page.getByText('There are no documents yet.').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();

  await drop(page, [join(LIBRARY, 'the-tide-clerk.txt'), join(LIBRARY, 'deutsch')]);
  const uploads = page.locator('.uploads');
  await uploads.getByText('2 files: 2 counted').waitFor();
  const documents = section(page, 'In the buckets');
  await documents.getByRole('row', { name: /the-tide-clerk\.txt .* counted 1,6\d\d/ }).waitFor();
  await documents.getByRole('row', { name: /deutsch\/lesebuch\.txt .* counted/ }).waitFor();

  // The picker does the same, by keyboard.
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: 'Choose files' }).press('Enter');
  await (await chooser).setFiles([join(LIBRARY, 'us-constitution.txt'), join(LIBRARY, 'empty.txt')]);
  await uploads.getByText('4 files: 4 counted').waitFor();

  // What the page says is what the command line says.
  const totals = JSON.parse(await wordfreq(['results', 'totals', '--format', 'json'], directory));
  assert.equal(totals.documents, 4);
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.waitForURL(/#\/overview/);
  await eventually(async () => assert.equal(await figure(page, 'Counted').textContent(), '4'));
  await page.getByText(`${totals.words.toLocaleString('en')} words, ${totals.distinct.toLocaleString('en')} distinct`).waitFor();
});

test('a refused upload says why, and goes through once the cause is gone', async (t) => {
  const directory = await dataDirectory(t);
  const first = await up(t, directory);
  const page = await open(t, first.url, '#/documents', { expected: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/ });
  await page.getByText('Live', { exact: true }).waitFor();
  await first.stop();
  await page.getByText('Connection lost, trying again').waitFor();
  await drop(page, [join(LIBRARY, 'clinic-letter.txt')]);
  await page.locator('.uploads').getByText('1 file: 1 refused').waitFor();
  await page.locator('.uploads').getByText('the connection was lost, or the file cannot be read').waitFor();

  await up(t, directory, [], new URL(first.url).host);
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Try clinic-letter.txt again' }).click();
  await page.locator('.uploads').getByText('1 file: 1 counted').waitFor();
});

test('the fleet is seen to grow under a burst and to shrink after it', async (t) => {
  const directory = await dataDirectory(t);
  const plan = beside(directory, 'plan.toml');
  await writeFile(plan, QUICK_PLAN);
  const { url } = await up(t, directory, ['--plan', plan, '--work', '300ms']);
  const page = await open(t, url, '#/overview?minutes=5');
  await eventually(async () => assert.equal(await figure(page, 'Workers').textContent(), '1'));

  await burst(directory, 'burst', 150);
  await eventually(async () => assert.ok(Number(await figure(page, 'Waiting').textContent()) > 20));
  await eventually(async () => assert.ok(Number(await figure(page, 'Workers').textContent()) >= 2));
  await page.locator('.lane-name', { hasText: 'backlog-high ALARM' }).waitFor();
  await section(page, 'Fleet activity').getByText(/Launching a new instance/).nth(1).waitFor();
  await section(page, 'Just counted').getByRole('link', { name: /^burst\/\d+\.txt$/ }).first().waitFor();
  // The chart tells the same to those who do not see it.
  await page.getByRole('img', { name: /^Workers, the last 5 minutes\. In service: \d now, at most [234]/ }).waitFor();
  await page.getByText('The same figures as a table').click();
  await page.getByRole('region', { name: 'Queue and fleet over time, table' }).getByRole('row').nth(5).waitFor();

  await page.getByRole('link', { name: 'Fleet', exact: true }).click();
  await section(page, 'Instances').getByRole('row').nth(2).waitFor();
  await section(page, 'Activity log').getByText(/alarm backlog-high/).first().waitFor();
  await section(page, 'Activity log').getByText(/Terminating instance/).first().waitFor();
  await section(page, 'Alarm history').getByText('ALARM').first().waitFor();
});

test('bounds set by hand are taken at once', async (t) => {
  const { url } = await up(t, await dataDirectory(t), ['--min', '1', '--max', '2']);
  const page = await open(t, url, '#/fleet');
  const bounds = section(page, 'Bounds');
  await bounds.getByLabel('Least workers').fill('3');
  await bounds.getByText('The least must not be more than the most.').waitFor();
  assert.ok(await bounds.getByRole('button', { name: 'Set' }).isDisabled());
  await bounds.getByLabel('Most workers').fill('4');
  await bounds.getByRole('button', { name: 'Set' }).click();
  await page.getByText('the fleet may now have 3 to 4 workers').waitFor();
  await bounds.getByText(/Set by hand/).waitFor();
  await eventually(async () => assert.equal(await figure(page, 'In service').textContent(), '3'));
});

test('a word is found by its beginning, and the documents that have it', async (t) => {
  const directory = await dataDirectory(t);
  await wordfreq(['upload', LIBRARY, '--bucket', 'processing'], directory);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/words');
  const list = section(page, 'Frequency list');
  await eventually(async () => {
    const { documents } = JSON.parse(await wordfreq(['results', 'totals', '--format', 'json'], directory));
    await list.getByText(`in ${documents} documents`).waitFor({ timeout: 1000 });
    assert.ok(documents >= 18);
  });
  await list.getByLabel('Begins with').fill('const');
  await eventually(async () => assert.match(await list.getByRole('row').nth(1).textContent(), /constitution/));
  assert.match(page.url(), /prefix=const/);
  await list.getByRole('link', { name: 'constitution', exact: true }).click();
  const word = section(page, 'constitution');
  const { counts } = JSON.parse(await wordfreq(['results', 'totals', '--all', '--format', 'json'], directory));
  const { count } = counts.find((one) => one.word === 'constitution');
  await eventually(async () => assert.equal(await figure(page, 'Count').textContent(), String(count)));
  await word.getByRole('link', { name: 'us-constitution.txt', exact: true }).waitFor();
  await word.getByRole('button', { name: 'Close' }).click();

  // As the profile counts it, not as it was typed.
  await page.getByLabel('Word', { exact: true }).fill('CONSTITUTION');
  await page.getByLabel('Word', { exact: true }).press('Enter');
  await page.getByText('Counted as constitution, as the profile writes CONSTITUTION.').waitFor();

  for (const [view, seen] of [['Zipf plot', /^Rank against count/], ['Cloud', /^A cloud of the \d+ most frequent words/]]) {
    await page.getByRole('button', { name: view }).click();
    await page.getByRole('img', { name: seen }).waitFor();
  }
  await page.getByRole('button', { name: 'Bars' }).click();
  await page.getByRole('list', { name: 'The most frequent words' }).getByRole('listitem').nth(24).waitFor();

  const download = page.waitForEvent('download');
  await list.getByRole('link', { name: 'Export CSV' }).click();
  const csv = await readFile(await (await download).path(), 'utf8');
  assert.match(csv.split('\n')[0], /word/);
  assert.match(csv, /constitution/);
});

test('a document shows its words, is counted again, and goes when it is confirmed', async (t) => {
  const directory = await dataDirectory(t);
  await wordfreq(['upload', join(LIBRARY, 'the-tide-clerk.txt'), '--bucket', 'processing'], directory);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/documents');
  await page.getByRole('row', { name: /the-tide-clerk\.txt .* counted/ }).waitFor();
  await page.getByRole('link', { name: 'the-tide-clerk.txt' }).click();
  await section(page, 'Top words').getByRole('listitem').first().getByText('the', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Show the beginning' }).click();
  const text = await readFile(join(LIBRARY, 'the-tide-clerk.txt'), 'utf8');
  // Its first 4 KiB, which may end within a character.
  const beginning = (await page.getByLabel('The beginning of the document').textContent()).replace(/\ufffd$/, '');
  assert.ok(text.startsWith(beginning) && beginning.length > 3500, beginning);

  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download' }).click();
  assert.equal(await readFile(await (await download).path(), 'utf8'), text);

  await page.getByRole('button', { name: 'Recount' }).click();
  await page.getByText('the-tide-clerk.txt will be counted again').waitFor();

  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('heading', { name: 'Top words' }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(/#\/documents/);
  await page.getByText('No document is like that.').waitFor();
  assert.equal(JSON.parse(await wordfreq(['results', 'totals', '--format', 'json'], directory)).words, 0);
});

test('a document that is being deleted is not asked for again', async (t) => {
  const directory = await dataDirectory(t);
  const put = () => wordfreq(['upload', join(LIBRARY, 'the-tide-clerk.txt'), '--bucket', 'processing'], directory);
  await put();
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/document?bucket=processing&key=the-tide-clerk.txt');
  await page.clock.install();
  // The page's own stream of events, where whoever listens later hears each event later.
  await page.addInitScript(() => {
    const Stream = window.EventSource;
    window.EventSource = function (address) {
      window.stream = new Stream(address);
      return window.stream;
    };
  });
  await page.reload();
  await page.getByRole('heading', { name: 'Top words' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  const asked = [];
  let answer;
  const deleted = new Promise((done) => {
    page.route('**/api/v1/document?*', async (route) => {
      asked.push(route.request().method());
      const response = await route.fetch();
      answer = () => route.fulfill({ response });
      done();
    });
  });
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await deleted;

  // Not even when it hears that somebody has put the document anew: whatever the page means to do then, it does in ten seconds.
  const heard = page.evaluate(() => new Promise((done) => {
    const { key } = Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]));
    window.stream.addEventListener('documents', ({ data }) => JSON.parse(data).recent.some((one) => one.key === key) && done());
  }));
  await put();
  await heard;
  await page.clock.runFor(10_000);
  assert.deepEqual(asked, ['DELETE']);
  await answer();
  await page.waitForURL(/#\/documents/);
});

test('a dead letter shows its reason and its text, and goes back once it is mended', async (t) => {
  const directory = await dataDirectory(t);
  const mend = await damagedScan(directory);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/overview');
  await eventually(async () => assert.equal(await figure(page, 'Dead letters').textContent(), '1'));
  await page.getByRole('link', { name: 'Look at them' }).click();
  const letter = page.getByRole('listitem').filter({ hasText: 'scans/ward-round.txt' });
  await letter.getByText(/the stored bytes do not match their digest/).waitFor();
  await letter.getByRole('button', { name: 'Show the beginning' }).click();
  await letter.getByText(/^Ward round, Tuesday\./).waitFor();
  await letter.getByText('The message itself').click();
  await letter.getByLabel('The message').getByText('scans/ward-round.txt').waitFor();

  // Redriven as it is, it comes back: given up at another second than the one that the list may still show.
  assert.match(await letter.getByText(/given up/).textContent(), /sent .* given up/);
  const givenUp = () => letter.locator('time').last().getAttribute('datetime');
  const before = await givenUp();
  await eventually(async () => assert.ok(Date.now() >= Date.parse(before) + 1000));
  await letter.getByRole('button', { name: 'Redrive' }).click();
  await page.getByText('1 message went back to the queue').waitFor();
  await eventually(async () => assert.notEqual(await givenUp(), before));

  await mend();
  await page.getByRole('button', { name: 'Redrive all' }).click();
  await page.getByText('There are no dead letters.').waitFor();
  await page.getByRole('link', { name: 'Documents' }).click();
  await page.getByRole('row', { name: /ward-round\.txt .* counted/ }).waitFor();
});

test('a purge is asked about first, and leaves the document uncounted', async (t) => {
  const directory = await dataDirectory(t);
  await damagedScan(directory);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/dead-letters');
  await page.getByRole('button', { name: 'Purge' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Purge' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Purge' }).click();
  await page.getByText('1 dead letter deleted').waitFor();
  await page.getByText('There are no dead letters.').waitFor();
  await page.getByRole('link', { name: 'Documents' }).click();
  await page.getByRole('row', { name: /ward-round\.txt .* waiting/ }).waitFor();
});

test('with tokens nothing is shown before one is given, and no more than it allows', async (t) => {
  const directory = await dataDirectory(t);
  const token = async (scope) =>
    (await wordfreq(['token', 'create', '--name', scope, '--scope', scope], directory)).trim().split('=')[1];
  const [admin, read] = [await token('admin'), await token('read')];
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/documents', { expected: /status of 401/ });
  await page.getByLabel('Token').fill('not-a-token');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').waitFor();
  assert.equal(await page.getByText('In the buckets').count(), 0);

  await page.getByLabel('Token').fill(read);
  await page.keyboard.press('Enter');
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByText(/This token may read only/).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();

  await page.getByLabel('Token').fill(admin);
  await page.keyboard.press('Enter');
  await page.getByText('Live', { exact: true }).waitFor();
  await drop(page, [join(LIBRARY, 'clinic-letter.txt')]);
  await page.locator('.uploads').getByText('1 file: 1 counted').waitFor();
  // The session outlives a reload, and no script can read it.
  await page.reload();
  await page.getByRole('row', { name: /clinic-letter\.txt/ }).waitFor();
  assert.equal(await page.evaluate(() => document.cookie), '');
  assert.ok(!(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).includes(admin));
});

test('hostile words and keys are text, in every view', async (t) => {
  const directory = await dataDirectory(t);
  const words = ['<img/src=x/onerror=window.hacked=1>', '<script>window.hacked=1</script>', 'שלום', '\u202eevil', `e${'\u0301'.repeat(20)}`, '&lt;b&gt;', '"><svg/onload=window.hacked=1>', '${7*7}', "'"];
  const key = 'a&b=c#d?e/<img src=x onerror=window.hacked=1> "שלום" \u202e%2e%2e+.txt';
  const { url } = await up(t, directory, ['--profile', 'whitespace']);
  // Put through the page's own origin, as a key like this is no file's name.
  const page = await open(t, url, '#/documents');
  const status = await page.evaluate(
    async ([name, text]) =>
      (await fetch(`/api/v1/document?${new URLSearchParams({ bucket: 'processing', key: name })}`, { method: 'PUT', body: text })).status,
    [key, words.join(' ')],
  );
  assert.equal(status, 201);
  const link = page.getByRole('row').getByRole('link').first();
  await eventually(async () => assert.equal(await link.textContent(), key));
  await page.getByRole('row', { name: / counted / }).waitFor();
  await link.click();
  const shown = async (list) => eventually(async () => {
    const found = await list.allTextContents();
    for (const word of words) assert.ok(found.includes(word.normalize('NFC')), `${word} is not among ${found}`);
  });
  await shown(section(page, 'Top words').getByRole('link'));
  await page.getByRole('button', { name: 'Show the beginning' }).click();
  assert.equal(await page.getByLabel('The beginning of the document').textContent(), words.join(' '));
  await page.getByRole('link', { name: 'Words' }).click();
  await shown(section(page, 'Frequency list').getByRole('row').getByRole('link'));
  await page.getByRole('button', { name: 'Cloud' }).click();
  await page.getByRole('img', { name: /^A cloud/ }).waitFor();
  await section(page, 'Frequency list').getByRole('link', { name: words[0], exact: true }).click();
  await eventually(async () => assert.equal(await figure(page, 'Count').textContent(), '1'));
  await page.getByRole('region', { name: 'Documents with this word, table' }).getByRole('link').click();
  await page.waitForURL(/#\/document\?/);
  await eventually(async () => assert.equal(await page.locator('h2').first().textContent(), key));
  // Each hostile text in its own direction: what stands beside it keeps its place.
  assert.equal(await page.locator('h2 bdi').first().evaluate((element) => getComputedStyle(element).unicodeBidi), 'isolate');
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('img[src="x"], #root script').count(), 0);
});

test('a webhook is asked to agree, told what happens, and let go', async (t) => {
  const directory = await dataDirectory(t);
  const told = [];
  const receiver = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const event = JSON.parse(Buffer.concat(parts));
      told.push(event);
      response.end(JSON.stringify(event.event === 'subscription.confirm' ? { confirm: event.data.token } : {}));
    });
  });
  await new Promise((listening) => receiver.listen(0, '127.0.0.1', listening));
  t.after(() => receiver.close());
  const host = `127.0.0.1:${receiver.address().port}`;
  await writeFile(beside(directory, 'wordfreq.toml'), `[notify]\nallow = ["${host}"]\n`);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/subscriptions');
  await page.getByText('Nobody is told anything yet.').waitFor();
  await page.getByLabel('Webhook or mail address').fill(`http://${host}/hook`);
  await page.getByLabel('A document was counted').check();
  await page.getByRole('button', { name: 'Subscribe' }).click();
  await page.getByText(/signed with this secret/).waitFor();
  await page.locator('.secret').getByText(/^whsec_/).waitFor();
  const one = page.getByRole('listitem').filter({ hasText: host });
  await one.getByText('confirmed').waitFor();

  await page.getByRole('link', { name: 'Documents' }).click();
  await drop(page, [join(LIBRARY, 'clinic-letter.txt')]);
  await page.locator('.uploads').getByText('1 file: 1 counted').waitFor();
  await eventually(async () => assert.ok(told.some(({ event, data }) => event === 'document.counted' && data.key === 'clinic-letter.txt')));
  await page.getByRole('link', { name: 'Subscriptions' }).click();
  assert.equal(await page.locator('.secret').count(), 0);
  await one.getByRole('button', { name: 'Deliveries' }).click();
  await one.getByRole('row', { name: /document\.counted delivered 1/ }).waitFor();
  await one.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Nobody is told anything yet.').waitFor();
});

test('with many documents the page stays small', async (t) => {
  const directory = await dataDirectory(t);
  await burst(directory, 'many', 1300);
  const { url } = await up(t, directory);
  const page = await open(t, url, '#/documents?q=many');
  const documents = section(page, 'In the buckets');
  const rows = documents.getByRole('row');
  for (let shown = 100; shown <= 1000; shown += 100) {
    await documents.getByText(`Documents 1 to ${shown.toLocaleString('en')}`).waitFor();
    await documents.getByRole('button', { name: 'Load more' }).click();
  }
  await documents.getByText('Documents 1,001 to 1,100').waitFor();
  assert.equal(await rows.count(), 101);
  await documents.getByRole('link', { name: 'many/1100.txt' }).waitFor();
  await documents.getByRole('button', { name: 'Load more' }).click();
  await documents.getByText('Documents 1,001 to 1,200').waitFor();
  await documents.getByRole('button', { name: 'Back to the newest' }).click();
  await documents.getByText('Documents 1 to 100').waitFor();
  await documents.getByRole('link', { name: 'many/0001.txt' }).waitFor();
});

test('everything can be reached by keyboard, and a new view has the focus at its heading', async (t) => {
  const { url } = await up(t, await dataDirectory(t));
  const page = await open(t, url, '', { size: PHONE });
  await page.getByText('Live', { exact: true }).waitFor();
  await page.keyboard.press('Tab');
  await page.getByRole('link', { name: 'Skip to the content' }).press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await page.getByRole('link', { name: 'Subscriptions' }).focus();
  await page.keyboard.press('Enter');
  await eventually(async () => assert.equal(await page.evaluate(() => document.querySelector('h1:focus')?.textContent), 'Subscriptions'));
  assert.equal(await page.title(), 'Subscriptions · wordfreq');
  await page.goBack();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.equal(await page.title(), 'Overview · wordfreq');
});

test('what was counted last stands first, also in a page that is opened later', async (t) => {
  const directory = await dataDirectory(t);
  await burst(directory, 'early', 30);
  const { url } = await up(t, directory);
  const page = await open(t, url);
  await eventually(async () => assert.equal(await figure(page, 'Counted').textContent(), '30'));
  await wordfreq(['upload', join(LIBRARY, 'clinic-letter.txt')], directory);
  const first = section(page, 'Just counted').getByRole('link', { name: /\.txt$/ }).first();
  const isLast = async () => assert.equal(await first.textContent(), 'clinic-letter.txt');
  await eventually(isLast);
  await page.reload();
  await page.locator('h1').waitFor();
  await eventually(isLast);
});

test('a page that cannot start says so', async (t) => {
  const { url } = await up(t, await dataDirectory(t));
  const page = await open(t, url, '', { expected: /ERR_FAILED/ });
  await page.route('**/page/main.js', (route) => route.abort());
  await page.reload();
  await page.getByText('This page could not start: a file of it could not be loaded.').waitFor();
});

test('the choice of colours stays', async (t) => {
  const { url } = await up(t, await dataDirectory(t));
  const page = await open(t, url);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.getByLabel('Colours').selectOption('dark');
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await page.locator('h1').waitFor();
  assert.equal(await ground(), dark);
  await page.getByLabel('Colours').selectOption('system');
  assert.equal(await ground(), light);
});
