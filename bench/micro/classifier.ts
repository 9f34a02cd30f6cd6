import { Classifier } from '../../src/sql/classifier.ts';
import { LiteralKey } from '../../src/sql/literal-key.ts';
import { nanosecondsPer } from './stopwatch.ts';

const TEXTS: Readonly<Record<string, string>> = {
  'short SELECT, parameter': 'SELECT a, b FROM t WHERE id = $1',
  'short SELECT, literals': "SELECT name FROM users WHERE id = 4711 AND state = 'active'",
  'pgbench -S': 'SELECT abalance FROM pgbench_accounts WHERE aid = 91834;',
  'ORM join (560 bytes)':
    'SELECT "u"."id" AS "u_id", "u"."email" AS "u_email", "u"."created_at" AS "u_created_at", "o"."id" AS "o_id", ' +
    '"o"."total" AS "o_total", "o"."currency" AS "o_currency", "o"."status" AS "o_status", "i"."sku" AS "i_sku", ' +
    '"i"."quantity" AS "i_quantity" FROM "public"."users" "u" LEFT JOIN "public"."orders" "o" ON "o"."user_id" = ' +
    '"u"."id" AND "o"."deleted_at" IS NULL LEFT JOIN "public"."items" "i" ON "i"."order_id" = "o"."id" WHERE ' +
    `"u"."email" = 'someone@example.org' AND "o"."status" IN ('open', 'paid', 'sent') ORDER BY "o"."id" DESC LIMIT 50`,
  'INSERT of 1000 rows (24 kB)': `INSERT INTO t (a, b) VALUES ${Array.from({ length: 1000 }, (_, i) => `(${i}, 'some text ${i}')`).join(', ')}`,
};

/** The key alone, a text whose shape is known, one whose shape is not. */
export type ClassifierCost = {
  readonly text: string;
  readonly keyNs: number;
  readonly hitNs: number;
  readonly missNs: number;
};

/** What classification costs, per text. */
export async function classifierCosts(forMs: number): Promise<ClassifierCost[]> {
  await Classifier.load();
  return Object.entries(TEXTS).map(([name, text]) => {
    const buffer = Buffer.from(text);
    const key = new LiteralKey();
    const warm = new Classifier({ maxEntries: 1000 });
    // Three shapes displace one another in a cache of two generations of one entry.
    const cold = new Classifier({ maxEntries: 2 });
    const others = [1, 2, 3].map((n) => Buffer.from(`/* fairlead: max_staleness=${n}s */ ${text}`));
    let turn = 0;
    const miss = () => {
      const other = others[turn++ % 3] as Buffer;
      cold.classify(other, 0, other.length, null);
    };
    return {
      text: name,
      keyNs: nanosecondsPer(forMs, () => key.build(buffer, 0, buffer.length)),
      hitNs: nanosecondsPer(forMs, () => warm.classify(buffer, 0, buffer.length, null)),
      missNs: nanosecondsPer(forMs, miss),
    };
  });
}
