/* Search in what records say: captions, labels, texts, prompts, reasons. The records are read when somebody searches. */
{
  const DEEP = 8; // levels of a record
  const LONGEST = 4000; // characters that are kept of a record

  /** All texts of a value of JSON. */
  function* texts(value, depth = 0) {
    if (typeof value === "string") yield value;
    else if (value !== null && typeof value === "object" && depth < DEEP)
      for (const one of Object.values(value)) yield* texts(one, depth + 1);
  }

  /** What a search finds in a record: not its numbers, hashes and names of fields. */
  function wordsOf(record) {
    const found = [record.detail, record.annotations, record.metadata, record.labels];
    for (const { requested } of Array.isArray(record.ops) ? record.ops : []) found.push(requested);
    for (const verdict of Array.isArray(record.verdicts) ? record.verdicts : [])
      found.push([verdict.reason, String(verdict.reason ?? "").replaceAll("_", " "), verdict.by]);
    return [...texts(found)].join("\n").slice(0, LONGEST).toLowerCase();
  }

  /** The words of all records: an array with a text for each row. */
  async function recordWords(rows, records) {
    const found = [];
    for (let row = 0; row < rows; row++) {
      try {
        const record = JSON.parse(await records.text(row));
        found.push(record === null || typeof record !== "object" ? "" : wordsOf(record));
      } catch {
        found.push(""); // no record, or a damaged one
      }
    }
    return found;
  }

  Object.assign(Variorum, { recordWords });
}
