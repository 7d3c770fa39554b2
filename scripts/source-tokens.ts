/** As much of TypeScript's lexical grammar as it takes to find imports and names without being fooled by comments or texts. */

export interface Token {
  readonly kind: 'name' | 'text' | 'sign';
  /** Of a text: what is between the quotes. Templates and regular expressions have none of their own. */
  readonly value: string;
  readonly line: number;
}

/** Words behind which a slash begins a regular expression, not a division. */
const BEFORE_EXPRESSION = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'void',
  'delete',
  'await',
  'yield',
  'throw',
  'else',
  'do',
]);
/** Signs behind which a slash divides. */
const ENDS_VALUE = new Set([')', ']', '}']);

const PATTERNS = {
  space: /\s+/y,
  comment: /\/\/[^\n]*|\/\*.*?(?:\*\/|$)/sy,
  name: /[\p{ID_Start}$_#][\p{ID_Continue}$\u200c\u200d]*/uy,
  number: /\.?\d[\w.]*/y,
  text: /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/sy,
  regex: /\/(?![*/])(?:\\[^\n]|\[(?:\\[^\n]|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y,
  /** Up to the end of the template, or to an expression inside. */
  template: /(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{|$)/sy,
};

export function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = [];
  let braces = 0;
  let line = 1;
  let at = source.startsWith('#!') ? source.indexOf('\n') : 0;

  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found === undefined) return undefined;
    at += found.length;
    return found;
  };
  const push = (kind: Token['kind'], value: string) => tokens.push({ kind, value, line });
  const countLines = (text: string) => {
    for (const character of text) if (character === '\n') line += 1;
  };
  const takeTemplate = () => {
    const part = take(PATTERNS.template) ?? '';
    if (part.endsWith('${')) {
      templates.push(braces);
      braces += 1;
    }
    countLines(part);
  };

  while (at < source.length) {
    const skipped = take(PATTERNS.space) ?? take(PATTERNS.comment);
    if (skipped !== undefined) {
      countLines(skipped);
      continue;
    }
    const last = tokens.at(-1);
    const slashDivides =
      last !== undefined &&
      (last.kind === 'sign'
        ? ENDS_VALUE.has(last.value)
        : !(last.kind === 'name' && BEFORE_EXPRESSION.has(last.value)));
    const name = take(PATTERNS.name);
    if (name !== undefined) push('name', name);
    else if (take(PATTERNS.number) !== undefined) push('text', '');
    else if (source[at] === "'" || source[at] === '"') {
      const text = take(PATTERNS.text);
      push('text', text?.slice(1, -1) ?? '');
      if (text === undefined) at += 1;
    } else if (source[at] === '`') {
      push('text', '');
      at += 1;
      takeTemplate();
    } else if (!slashDivides && take(PATTERNS.regex) !== undefined) push('text', '');
    else {
      const sign = source[at] ?? '';
      at += 1;
      if (sign === '{') braces += 1;
      if (sign === '}') braces -= 1;
      if (sign === '}' && templates.at(-1) === braces) {
        templates.pop();
        takeTemplate();
        push('text', '');
      } else push('sign', sign);
    }
  }
  return tokens;
}

export interface Import {
  readonly from: string;
  readonly line: number;
  /** `import type`, `export type`: gone when the program runs. */
  readonly isTypeOnly: boolean;
  /** `export * from`. */
  readonly isWholesale: boolean;
}

/** Static imports, re-exports, and `import()` of a plain text. */
export function importsOf(tokens: readonly Token[]): Import[] {
  const imports: Import[] = [];
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1];
    const isMember = tokens[index - 1]?.value === '.' && tokens[index - 1]?.kind === 'sign';
    if (token.kind !== 'name' || isMember || next === undefined) continue;
    const add = (from: Token | undefined, isTypeOnly = false, isWholesale = false) => {
      if (from?.kind === 'text')
        imports.push({ from: from.value, line: token.line, isTypeOnly, isWholesale });
    };
    if (token.value === 'import' && next.kind === 'text') add(next);
    else if (token.value === 'import' && next.value === '(') add(tokens[index + 2]);
    else if (token.value === 'import' || (token.value === 'export' && /^(?:[*{]|type)$/.test(next.value))) {
      const isTypeOnly = next.value === 'type' && tokens[index + 2]?.value !== 'from';
      add(sourceOfClause(tokens, index + 1), isTypeOnly, token.value === 'export' && next.value === '*');
    }
  }
  return imports;
}

/** What follows the first `from` before the statement ends; nothing for `export { a }` and `import.meta`. */
function sourceOfClause(tokens: readonly Token[], start: number): Token | undefined {
  let depth = 0;
  for (let index = start; index < tokens.length; index++) {
    const { kind, value } = tokens[index]!;
    if (kind === 'sign' && value === '{') depth += 1;
    if (kind === 'sign' && value === '}') depth -= 1;
    if (depth === 0 && kind === 'name' && value === 'from') return tokens[index + 1];
    if (depth === 0 && kind === 'sign' && /[;=(.]/.test(value)) return undefined;
    if (depth < 0) return undefined;
  }
  return undefined;
}
