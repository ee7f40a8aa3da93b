"use strict";
/* Meshes of the cortical surface, maps on their vertices, and pictures that know the triangle of each pixel. The meshes
   come from surface_viewer.py. Coordinates are in mm: x to the right, y to the front, z up. */

/** Undo `pack_words` of surface_viewer.py. */
async function unpackWords(text) {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const halves = new Uint8Array(await new Response(stream).arrayBuffer());
  const words = new Int16Array(halves.length / 2);
  let last = 0;
  for (let i = 0; i < words.length; i += 1) {
    last += halves[i] + 256 * halves[words.length + i];
    words[i] = last;
  }
  return words;
}

/** The meshes of both hemispheres, and how they sample the grid of a map. */
class Meshes {
  static async unpack(packed) {
    const [faces, inflated, pial, white, depth, cortex] = await Promise.all([
      unpackWords(packed.faces), unpackWords(packed.inflated), unpackWords(packed.pial), unpackWords(packed.white),
      unpack(packed.sulcal_depth), unpack(packed.cortex),
    ]);
    return new Meshes(packed, { faces, inflated, pial, white, depth: new Int8Array(depth.buffer), cortex });
  }

  constructor(packed, parts) {
    Object.assign(this, parts);
    this.packed = packed;
    this.count = packed.n_vertices;
    this.half = this.count / 2;
    this.normals = this.findNormals();
  }

  /** Return one coordinate of a vertex in mm. */
  mm(points, axis, vertex) {
    return points[axis * this.count + vertex] * this.packed.unit;
  }

  /** Return the point in the middle between pial and white surface at a vertex, in mm. */
  middle(vertex) {
    return [0, 1, 2].map((axis) => (this.mm(this.pial, axis, vertex) + this.mm(this.white, axis, vertex)) / 2);
  }

  /** Average the normals of the triangles at each vertex. Seen from outside, all triangles are anticlockwise. */
  findNormals() {
    const { count, faces, half } = this;
    const normals = new Float32Array(3 * count);
    for (let first = 0; first < count; first += half) {
      for (let f = 0; f < faces.length; f += 3) {
        const [a, b, c] = [faces[f] + first, faces[f + 1] + first, faces[f + 2] + first];
        const [p, q] = [b, c].map((to) => [0, 1, 2].map((axis) => this.mm(this.inflated, axis, to) - this.mm(this.inflated, axis, a)));
        const normal = [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
        for (const at of [a, b, c]) for (let axis = 0; axis < 3; axis += 1) normals[axis * count + at] += normal[axis];
      }
    }
    for (let v = 0; v < count; v += 1) {
      const length = Math.hypot(normals[v], normals[count + v], normals[2 * count + v]) || 1;
      for (let axis = 0; axis < 3; axis += 1) normals[axis * count + v] /= length;
    }
    return normals;
  }

  /** Call `use(voxel, weight)` for the voxels around each sample of a vertex between pial and white surface. */
  forSamples(grid, vertex, use) {
    const [nx, ny, nz] = grid.shape;
    const last = this.packed.n_depths - 1;
    const [from, to] = [this.pial, this.white].map((points) => (
      [0, 1, 2].map((axis) => (this.mm(points, axis, vertex) - grid.origin[axis]) / grid.step[axis])
    ));
    for (let k = 0; k <= last; k += 1) {
      const x = from[0] + (k / last) * (to[0] - from[0]);
      const y = from[1] + (k / last) * (to[1] - from[1]);
      const z = from[2] + (k / last) * (to[2] - from[2]);
      const i = Math.floor(x);
      const j = Math.floor(y);
      const l = Math.floor(z);
      for (let corner = 0; corner < 8; corner += 1) {
        const ii = i + (corner >> 2);
        const jj = j + ((corner >> 1) & 1);
        const ll = l + (corner & 1);
        if (ii < 0 || jj < 0 || ll < 0 || ii >= nx || jj >= ny || ll >= nz) continue;
        const weight = (1 - Math.abs(x - ii)) * (1 - Math.abs(y - jj)) * (1 - Math.abs(z - ll));
        if (weight > 0) use((ii * ny + jj) * nz + ll, weight);
      }
    }
  }

  /** Return the share of the samples of each vertex that lies in the mask; 0 on the medial wall. */
  shareInMask(grid, mask) {
    const share = new Float32Array(this.count);
    for (let v = 0; v < this.count; v += 1) {
      if (this.cortex[v]) this.forSamples(grid, v, (voxel, weight) => { if (mask[voxel]) share[v] += weight; });
      share[v] /= this.packed.n_depths;
    }
    return share;
  }

  /** Average a map over the samples of each vertex inside the mask (`sample_map` in cortex.py); NaN without a value. */
  sample(grid, map, share) {
    const values = new Float32Array(this.count).fill(NaN);
    for (let v = 0; v < this.count; v += 1) {
      if (share[v] < this.packed.least_share) continue;
      let sum = 0;
      this.forSamples(grid, v, (voxel, weight) => { sum += weight * map[voxel]; });
      values[v] = sum / this.packed.n_depths / share[v];
    }
    return values;
  }
}

/** The triangle of each pixel, and the weights of its second and third corner. */
class Picture {
  constructor(width, height) {
    [this.width, this.height] = [width, height];
    this.triangles = new Int32Array(width * height).fill(-1);
    this.second = new Float32Array(width * height);
    this.third = new Float32Array(width * height);
    this.depths = new Float32Array(width * height).fill(-Infinity);
  }

  /** Draw the triangles of the hemisphere with the first vertex `first`. `x`, `y` are pixels; `z` points to the reader. */
  draw(faces, first, [x, y, z]) {
    const { width, height, triangles, second, third, depths } = this;
    for (let f = 0; f < faces.length; f += 3) {
      const a = faces[f] + first;
      const b = faces[f + 1] + first;
      const c = faces[f + 2] + first;
      const ax = x[a];
      const ay = y[a];
      const bx = x[b] - ax;
      const by = y[b] - ay;
      const cx = x[c] - ax;
      const cy = y[c] - ay;
      // y points down, so a triangle that faces the reader has a negative area.
      const area = bx * cy - by * cx;
      if (area >= -1e-9) continue;
      const top = Math.max(Math.ceil(ay + Math.min(0, by, cy) - 0.5), 0);
      const bottom = Math.min(Math.floor(ay + Math.max(0, by, cy) - 0.5), height - 1);
      const left = Math.max(Math.ceil(ax + Math.min(0, bx, cx) - 0.5), 0);
      const right = Math.min(Math.floor(ax + Math.max(0, bx, cx) - 0.5), width - 1);
      const [deeperB, deeperC] = [z[b] - z[a], z[c] - z[a]];
      const index = f + (first ? faces.length : 0);
      for (let row = top; row <= bottom; row += 1) {
        const dy = row + 0.5 - ay;
        for (let column = left; column <= right; column += 1) {
          const dx = column + 0.5 - ax;
          const v = (dx * cy - dy * cx) / area;
          const w = (bx * dy - by * dx) / area;
          if (v < -1e-6 || w < -1e-6 || v + w > 1 + 1e-6) continue;
          const depth = z[a] + v * deeperB + w * deeperC;
          const at = row * width + column;
          if (depth <= depths[at]) continue;
          depths[at] = depth;
          triangles[at] = index;
          second[at] = v;
          third[at] = w;
        }
      }
    }
  }
}
