/** A piece of the report: lines of Markdown under a heading. */
export type Section = { readonly title: string; readonly lines: readonly string[] };
