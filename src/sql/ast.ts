/**
 * The parse tree as libpg-query's JSON has it: a node in a general place is `{ Tag: fields }`, in a typed place the bare
 * fields; zero, false, null and empty lists are left out.
 */
export type Fields = { readonly [field: string]: unknown };

export type RawStatement = { readonly tag: string; readonly node: Fields };

/** Tag and fields of `{ Tag: fields }`; null for anything else. */
export function unwrap(value: unknown): RawStatement | null {
  if (value === null || typeof value !== 'object') return null;
  for (const tag in value) return { tag, node: (value as Record<string, Fields>)[tag] ?? {} };
  return null;
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** A list of String nodes (a qualified name) as texts; other nodes such as `*` are left out. */
export function namesOf(value: unknown): string[] {
  const names: string[] = [];
  for (const item of listOf(value)) {
    const sval = (item as { String?: { sval?: string } }).String?.sval;
    if (sval !== undefined) names.push(sval);
  }
  return names;
}

/** Text of a constant as SET would take it; null when it is no constant. */
export function constantText(value: unknown): string | null {
  const node = unwrap(value);
  if (node === null) return null;
  if (node.tag === 'TypeCast') return constantText(node.node.arg);
  if (node.tag === 'String') return textOf(node.node.sval) ?? '';
  if (node.tag === 'Integer') return String(node.node.ival ?? 0);
  if (node.tag === 'Float') return textOf(node.node.fval);
  if (node.tag !== 'A_Const') return null;
  const c = node.node as {
    sval?: { sval?: string };
    ival?: { ival?: number };
    fval?: { fval?: string };
    boolval?: { boolval?: boolean };
  };
  if (c.sval !== undefined) return c.sval.sval ?? '';
  if (c.ival !== undefined) return String(c.ival.ival ?? 0);
  if (c.fval !== undefined) return c.fval.fval ?? null;
  if (c.boolval !== undefined) return c.boolval.boolval === true ? 'true' : 'false';
  return null;
}
