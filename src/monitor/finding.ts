/** One thing that `fairlead check` found. */
export type Finding = {
  /** The node it is about; null for the cluster. */
  readonly node: string | null;
  readonly level: 'error' | 'warning' | 'ok';
  readonly message: string;
  /** The statement or step that fixes it; null where there is nothing to fix. */
  readonly fix: string | null;
};

export function problem(node: string | null, message: string, fix: string | null): Finding {
  return { node, level: 'error', message, fix };
}

export function warning(node: string | null, message: string, fix: string | null): Finding {
  return { node, level: 'warning', message, fix };
}

export function fine(node: string | null, message: string): Finding {
  return { node, level: 'ok', message, fix: null };
}
