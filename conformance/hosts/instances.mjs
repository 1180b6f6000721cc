// The smallest value that a JSON schema accepts; the twin of `instances.py`.

const DEEPEST = 12;

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** An instance with the required properties only; a schema of another shape than expected yields an object. */
export function smallest(schema, root = schema, depth = 0) {
  if (!isObject(schema) || depth > DEEPEST) return {};
  if (typeof schema.$ref === 'string') return smallest(at(root, schema.$ref), root, depth + 1);
  if ('const' in schema) return schema.const;
  if (schema.enum?.length) return schema.enum[0];
  for (const several of ['anyOf', 'oneOf', 'allOf']) {
    if (schema[several]?.length) return smallest(schema[several][0], root, depth + 1);
  }
  const type = schema.type ?? 'object';
  switch (Array.isArray(type) ? type[0] : type) {
    case 'string':
      return 'scripted'.padEnd(schema.minLength ?? 0, '.');
    case 'integer':
    case 'number':
      return schema.minimum ?? 7;
    case 'boolean':
      return true;
    case 'null':
      return null;
    case 'array':
      return Array(schema.minItems ?? 1).fill(smallest(schema.items ?? {}, root, depth + 1));
    default: {
      const properties = isObject(schema.properties) ? schema.properties : {};
      const instance = (name) => smallest(properties[name] ?? { type: 'string' }, root, depth + 1);
      return Object.fromEntries((schema.required ?? []).map((name) => [name, instance(name)]));
    }
  }
}

/** What a reference inside the same schema points to; nothing else is followed. */
function at(root, reference) {
  const parts = reference.replace(/^#/, '').replace(/^\/+|\/+$/g, '').split('/');
  return parts.reduce((value, part) => (isObject(value) ? (value[part] ?? {}) : {}), root);
}
