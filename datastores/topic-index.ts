// TopicIndex: values by topic, and which of these topics a topic filter matches. It is the reverse of
// state/topic-trie.ts, which holds filters and is asked for a topic.
//
//   X1. `matching` returns the values of exactly the topics for which `matches` of topic-filter.ts is true, each once.
//   X2. A filter without wildcards costs one look-up. The tree of levels is built when the first wildcard comes:
//       without wildcards it costs nothing.
//
// A mutable index with a pure face; its oracle is `matches`.

import { hasWildcard } from '../state/keys.ts';
import { innerFilter } from '../state/topic-filter.ts';

/** One level of topics; `value` is that of the topic that ends here. */
interface Node<Value> {
  children: Map<string, Node<Value>> | undefined;
  value: Value | undefined;
}

export class TopicIndex<Value extends object> {
  readonly #values = new Map<string, Value>();
  #root: Node<Value> | undefined; // X2

  get size(): number {
    return this.#values.size;
  }

  get(topic: string): Value | undefined {
    return this.#values.get(topic);
  }

  set(topic: string, value: Value): void {
    this.#values.set(topic, value);
    if (this.#root !== undefined) put(this.#root, topic, value);
  }

  delete(topic: string): void {
    if (this.#values.delete(topic) && this.#root !== undefined) remove(this.#root, topic);
  }

  clear(): void {
    this.#values.clear();
    this.#root = undefined;
  }

  values(): IterableIterator<Value> {
    return this.#values.values();
  }

  /** The values of the topics that the filter matches (X1). A shared filter matches like the filter within it. */
  matching(filter: string): Value[] {
    const inner = innerFilter(filter);
    const found: Value[] = [];
    const take = ({ value }: Node<Value>): void => {
      if (value !== undefined) found.push(value);
    };
    if (!hasWildcard(inner)) {
      const value = this.#values.get(inner);
      return value === undefined ? [] : [value];
    }
    let nodes = [this.#tree()];
    for (const [depth, level] of inner.split('/').entries()) {
      // A wildcard does not match a first level that begins with $ (MQTT 5, 4.7.2).
      const open = (node: Node<Value>): Node<Value>[] =>
        [...(node.children ?? [])].flatMap(([name, child]) => (depth === 0 && name.startsWith('$') ? [] : [child]));
      if (level === '#') {
        for (const node of nodes) {
          if (depth > 0) take(node); // a/# matches a, too.
          const below = open(node);
          for (const each of below) {
            // The list grows during the loop.
            take(each);
            for (const child of each.children?.values() ?? []) below.push(child);
          }
        }
        return found;
      }
      nodes = nodes.flatMap((node) => (level === '+' ? open(node) : (node.children?.get(level) ?? [])));
    }
    for (const node of nodes) take(node);
    return found;
  }

  #tree(): Node<Value> {
    if (this.#root === undefined) {
      this.#root = newNode();
      for (const [topic, value] of this.#values) put(this.#root, topic, value);
    }
    return this.#root;
  }
}

const newNode = <Value>(): Node<Value> => ({ children: undefined, value: undefined });

function put<Value>(root: Node<Value>, topic: string, value: Value): void {
  let node = root;
  for (const level of topic.split('/')) {
    node.children ??= new Map();
    let child = node.children.get(level);
    if (child === undefined) {
      child = newNode();
      node.children.set(level, child);
    }
    node = child;
  }
  node.value = value;
}

/** Removes the topic, and the levels that lead to no other. */
function remove<Value>(root: Node<Value>, topic: string): void {
  const levels = topic.split('/');
  const path = [root];
  for (const level of levels) path.push(path.at(-1)!.children!.get(level)!);
  path.at(-1)!.value = undefined;
  for (let depth = levels.length; depth > 0; depth--) {
    const { children, value } = path[depth]!;
    if ((children?.size ?? 0) > 0 || value !== undefined) return;
    path[depth - 1]!.children!.delete(levels[depth - 1]!);
  }
}
