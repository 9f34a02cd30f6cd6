/** What one operation costs. */
export type Cost = { readonly operation: string; readonly ns: number };
