// placeholder replaced below
export function filterProblem(filter: string): string | undefined {
  return filter === '' ? 'empty' : undefined;
}
export function topicProblem(topic: string): string | undefined {
  return topic === '' ? 'empty' : undefined;
}
