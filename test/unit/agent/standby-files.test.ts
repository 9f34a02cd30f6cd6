import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeStandby, slotOf, withSettings } from '../../../src/agent/standby-files.ts';

describe('settings in postgresql.auto.conf', () => {
  it('replaces those of a name, whatever its case, and leaves the rest', () => {
    const text =
      "# Do not edit\nwork_mem = '4MB'\nPrimary_Slot_Name = 'x'\nprimary_slot_name='y'\nprimary_slot_names = 'z'\n";
    assert.equal(
      withSettings(text, { primary_slot_name: 'new' }),
      "# Do not edit\nwork_mem = '4MB'\nprimary_slot_names = 'z'\nprimary_slot_name = 'new'\n",
    );
  });

  it('quotes as PostgreSQL reads it', () => {
    assert.equal(withSettings('', { a: `it's a \\ b` }), `a = 'it''s a \\\\ b'\n`);
  });

  it('takes half a fence off a former primary; a whole one is the controller’s to lift', () => {
    const directory = mkdtempSync(join(tmpdir(), 'standby-files-'));
    const file = join(directory, 'postgresql.auto.conf');
    const made = (text: string, former: boolean) => {
      writeFileSync(file, text);
      makeStandby(directory, { conninfo: 'host=a', slot: null, rewindConninfo: null }, {}, { owner: null, former });
      return readFileSync(file, 'utf8');
    };
    try {
      const half = "default_transaction_read_only = 'on'\n";
      const whole = `${half}synchronous_standby_names = 'fairlead_fence_3'\n`;
      assert.doesNotMatch(made(half, true), /read_only/);
      assert.match(made(half, false), /read_only/, 'a replica that is read-only is somebody’s wish');
      assert.match(made(whole, true), /read_only = 'on'\nsynchronous_standby_names = 'fairlead_fence_3'/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('makes a directory a standby’s, and tells its slot', () => {
    const directory = mkdtempSync(join(tmpdir(), 'standby-files-'));
    try {
      assert.equal(slotOf(directory), null);
      writeFileSync(join(directory, 'recovery.signal'), '');
      writeFileSync(join(directory, 'postgresql.auto.conf'), "primary_slot_name = 'before'\n");
      const source = { conninfo: "host=a password='p w'", slot: 'pg1', rewindConninfo: null };
      makeStandby(directory, source, { port: '5433' }, { owner: null, former: false });
      assert.equal(slotOf(directory), 'pg1');
      assert.equal(
        readFileSync(join(directory, 'postgresql.auto.conf'), 'utf8'),
        "port = '5433'\nprimary_conninfo = 'host=a password=''p w'''\nprimary_slot_name = 'pg1'\n",
      );
      assert.ok(existsSync(join(directory, 'standby.signal')) && !existsSync(join(directory, 'recovery.signal')));
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
