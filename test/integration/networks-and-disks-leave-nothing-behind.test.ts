import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { needsNamespaces, PrivateNetwork, removeAbandonedNetworks } from '../support/private-network.ts';
import { needsDisks, removeAbandonedDisks, SmallDisk } from '../support/small-disk.ts';
import { until } from '../support/wait.ts';

const fileOf = (name: string) => JSON.stringify(new URL(`../support/${name}.js`, import.meta.url).href);
/** Makes one of each, says where they are, and waits. */
const PROGRAM = `
const { PrivateNetwork } = await import(${fileOf('private-network')});
const { SmallDisk } = await import(${fileOf('small-disk')});
const network = new PrivateNetwork(['pg1', 'pg2']);
console.log(JSON.stringify({ address: network.address('fairlead'), disk: new SmallDisk(1).path }));
setInterval(() => {}, 1000);
`;

const mounted = (path: string) => readFileSync('/proc/mounts', 'utf8').includes(` ${path} `);
const namespacesOf = (pid: number | undefined) => readdirSync('/run/netns').filter((name) => name.includes(`-${pid}-`));
const addresses = () => Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));

describe('what tests make of networks and disks', { skip: needsNamespaces() || needsDisks() }, () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`is gone after ${signal}${signal === 'SIGKILL' ? ', as soon as the next one looks' : ''}`, async () => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
        env: { ...process.env, NODE_TEST_CONTEXT: '' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      const { address, disk } = JSON.parse(line.toString()) as { address: string; disk: string };
      assert.ok(mounted(disk));
      assert.equal(namespacesOf(child.pid).length, 3);
      assert.ok(addresses().includes(address));
      // those of the living are left alone
      assert.ok(!removeAbandonedNetworks().some((name) => name.includes(`-${child.pid}-`)));
      assert.ok(!removeAbandonedDisks().includes(disk));
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
      if (signal === 'SIGKILL') {
        new PrivateNetwork([]).remove();
        new SmallDisk(1).remove();
      }
      // another test file may be about to remove them
      await until(() => namespacesOf(child.pid).length === 0, { what: 'the end of its namespaces' });
      await until(() => !mounted(disk), { what: 'the end of its disk' });
      // the kernel takes a namespace's links apart in its own time
      await until(() => !addresses().includes(address), { what: `${address} to be gone` });
    });
  }
});
