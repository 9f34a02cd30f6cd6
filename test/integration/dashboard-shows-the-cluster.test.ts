import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import type { Synchrony } from '../../src/cluster/synchrony.ts';
import { ApiFixture, failoverEvent } from '../support/api-fixture.ts';
import { browserPath, launchBrowser } from '../support/browser.ts';
import { play } from '../support/dashboard-scene.ts';

const path = browserPath();
/** Where to leave screenshots for people; nowhere when not set. */
const shots = process.env.FAIRLEAD_SCREENSHOTS;
const SIZES = { wall: [1920, 1080], laptop: [1280, 800], phone: [390, 844] } as const;

describe('dashboard shows the cluster', {
  skip: path === null && 'no Chromium (set CHROMIUM)',
  timeout: 250_000,
}, () => {
  let browser: Browser;
  before(async () => {
    browser = await launchBrowser(path as string);
  });
  after(() => browser?.close());

  /** A page that fails the test for any complaint of the browser and any request to elsewhere. */
  async function open(
    url: string,
    size: keyof typeof SIZES,
    colorScheme: 'dark' | 'light',
    complaints: string[],
  ): Promise<Page> {
    const [width, height] = SIZES[size];
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    page.setDefaultTimeout(60_000);
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== url) complaints.push(`request to ${request.url()}`);
    });
    await page.goto(url);
    return page;
  }

  async function shot(page: Page, name: string): Promise<void> {
    if (shots === undefined) return;
    await mkdir(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  }

  /** Pixels of a plot's canvas that are not transparent and coloured, which grid and text are not. */
  function coloured(page: Page, plot: string): Promise<number> {
    return page.evaluate(`(() => {
      const canvas = document.querySelector('#${plot} canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) {
        const spread = Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
        if (data[i + 3] > 100 && spread > 60) count++;
      }
      return count;
    })()`);
  }

  it('with roles, plots, reads and a failover', async () => {
    const fixture = new ApiFixture();
    const complaints: string[] = [];
    const url = await fixture.start();
    const scene = play(fixture, 'healthy');
    try {
      const page = await open(url, 'wall', 'dark', complaints);
      await page.waitForSelector('#connection.live');
      await page.waitForSelector('#upstream .node.primary >> text=pg1');
      assert.deepEqual(await page.locator('#downstream .name').allTextContents(), ['pg2', 'pg3']);
      assert.deepEqual(await page.locator('#downstream .role').allTextContents(), ['replica', 'replica']);
      await until(async () => (await page.locator('#links .link.flow').count()) === 2, 'two links that flow');
      assert.equal(await page.textContent('#phase'), 'steady');
      assert.equal(await page.textContent('#epoch'), '3');
      await page.waitForSelector('#reasons >> text=fresh replica');
      await page.waitForSelector('#reasons >> text=no fresh replica');
      for (const plot of ['lag-ms', 'lag-bytes', 'throughput']) {
        await page.waitForSelector(`#${plot} canvas`);
        await until(async () => (await coloured(page, plot)) > 20, `${plot} draws`);
      }
      assert.ok(
        await page.evaluate('document.documentElement.scrollHeight <= innerHeight'),
        'a wall screen needs no scrolling',
      );
      await shot(page, 'healthy-wall-dark');

      scene.stop();
      fixture.fail('pg1');
      fixture.sessions = { ...fixture.sessions, held: 17 };
      fixture.assign(null, 'electing', { reason: 'pg1 does not answer' });
      await page.waitForSelector('#banner:not([hidden]) >> text=/No primary: 17 sessions held for [0-9.]+ s/');
      await shot(page, 'failover-wall-dark');

      fixture.assign('pg2', 'steady', { epoch: 4, timeline: 2 });
      fixture.observe('pg2', 'primary', fixture.lsn, 'pg2', 2);
      fixture.observe('pg3', 'replica', fixture.lsn, 'pg2', 2);
      fixture.happen(failoverEvent());
      await page.waitForSelector('#events >> text=pg2 is the primary on timeline 2');
      await page.waitForSelector('#events >> text=nothing was lost');
      await page.waitForSelector('#upstream .node.primary >> text=pg2');
      await page.waitForSelector('#banner', { state: 'hidden' });
      await page.close();
      assert.deepEqual(complaints, []);
    } finally {
      scene.stop();
      await fixture.stop();
    }
  });

  it('and where acknowledged commits are', async () => {
    const fixture = new ApiFixture();
    const complaints: string[] = [];
    const url = await fixture.start();
    const scene = play(fixture, 'healthy');
    const keep = (change: Partial<Synchrony>) =>
      fixture.cluster.synchrony.set({
        ...{ mode: 'quorum', copies: 1, degrade: 'block', state: 'confirmed', reason: 'as configured', setting: null },
        guarantee: [{ copies: 1, nodes: ['pg2', 'pg3'] }],
        nodes: new Map([
          ['pg2', 'quorum'],
          ['pg3', 'async'],
        ]),
        ...change,
      });
    try {
      const page = await open(url, 'laptop', 'dark', complaints);
      await page.waitForSelector('#connection.live');
      assert.equal(await page.locator('#synchronous').isVisible(), false, 'nothing is promised');
      keep({});
      await page.waitForSelector('#synchronous.good >> text=1 of pg2, pg3');
      const marks = async () => (await page.locator('.node .sync:visible').allTextContents()).join();
      await until(async () => (await marks()) === 'quorum', 'one mark');
      await shot(page, 'synchronous-laptop-dark');
      keep({
        state: 'blocked',
        reason: 'commits wait: pg2 does not acknowledge',
        nodes: new Map([['pg2', 'failing']]),
      });
      await page.waitForSelector('#synchronous.bad >> text=new ones wait');
      await page.waitForSelector('#banner:not([hidden]) >> text=pg2 does not acknowledge');
      await page.waitForSelector('.node .sync.bad >> text=failing');
      await shot(page, 'blocked-laptop-dark');
      await page.close();
      assert.deepEqual(complaints, []);
    } finally {
      scene.stop();
      await fixture.stop();
    }
  });

  it('on every screen, without sideways scrolling', async () => {
    const fixture = new ApiFixture();
    const complaints: string[] = [];
    const url = await fixture.start();
    const scene = play(fixture, 'paused');
    try {
      for (const size of ['laptop', 'phone'] as const) {
        for (const scheme of ['dark', 'light'] as const) {
          const page = await open(url, size, scheme, complaints);
          await page.waitForSelector('#connection.live');
          await page.waitForSelector('#downstream .state >> text=replay paused');
          assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${size} ${scheme}`);
          await shot(page, `paused-${size}-${scheme}`);
          await page.close();
        }
      }
      assert.deepEqual(complaints, []);
    } finally {
      scene.stop();
      await fixture.stop();
    }
  });

  it('and says so when Fairlead is gone, until it is back', async () => {
    const first = new ApiFixture();
    const url = await first.start();
    const http = { host: '127.0.0.1', port: Number(new URL(url).port) };
    first.healthy();
    const page = await open(url, 'laptop', 'light', []);
    await page.waitForSelector('#connection.live');
    await first.stop();
    await page.waitForSelector('#connection.lost');
    await page.waitForSelector('#banner:not([hidden]) >> text=Disconnected from Fairlead');
    const second = new ApiFixture({ http });
    try {
      await second.start();
      second.healthy();
      await page.waitForSelector('#connection.live');
      await page.waitForSelector('#banner', { state: 'hidden' });
      await page.close();
    } finally {
      await second.stop();
    }
  });
});

async function until(passes: () => Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!(await passes())) {
    if (performance.now() > deadlineMs) assert.fail(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
