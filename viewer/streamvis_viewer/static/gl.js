// The WebGL painters. All layers of a page share one context: browsers allow about sixteen.
// Data go to the GPU once; pan and zoom change uniforms, colour and visibility a small texture.

import {DASHES} from "./canvas.js";
import {MARKERS, largest} from "./markers.js";

const ROW = 1024; // series per row of the textures that hold their colours and styles

const COMMON = `#version 300 es
  precision highp float;
  precision highp int;
  uniform vec2 centre, scale, offset, size;
  uniform highp sampler2D palette;
  uniform float alpha;
  flat out vec4 colour;
  // By bits, because GLSL need not honour NaN: exponent all ones is NaN or infinity.
  bool gap(uint u, uint v) { return (u & 0x7fffffffu) >= 0x7f800000u || (v & 0x7fffffffu) >= 0x7f800000u; }
  vec2 place(uint u, uint v) { return (vec2(uintBitsToFloat(u), uintBitsToFloat(v)) - centre) * scale + offset; }
  vec4 clip(vec2 p) { return vec4(p.x / size.x * 2.0 - 1.0, 1.0 - p.y / size.y * 2.0, 0.0, 1.0); }
  ivec2 texel(uint slot) { return ivec2(slot & ${ROW - 1}u, slot >> ${Math.log2(ROW)}); }
  vec4 colourOf(uint slot) {
    vec4 c = texelFetch(palette, texel(slot), 0);
    return vec4(c.rgb, c.a * alpha);
  }
  const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);
`;

const asVec4 = pattern => `vec4(${[0, 1, 2, 3].map(i => (pattern[i] ?? 0).toFixed(1)).join(", ")})`;

// One instance per point: the segment to the next point, as a quad around the line; or, between two gaps, a dot.
const LINES = {
  vertex: `${COMMON}
    layout(location = 0) in uint u0;
    layout(location = 1) in uint u1;
    layout(location = 2) in uint u2;
    layout(location = 3) in uint v0;
    layout(location = 4) in uint v1;
    layout(location = 5) in uint v2;
    layout(location = 6) in uint slot;
    layout(location = 7) in float travelled;
    uniform float width, dot;
    uniform highp sampler2D styles; // of each series: what multiplies the width, and which dash
    out vec2 local;        // along and across the segment, in pixels
    out float along;       // the line, in pixels
    flat out vec2 segment; // the segment's length and half its width
    flat out int dash;
    void main() {
      colour = colourOf(slot);
      bool ends = gap(u2, v2);
      if (colour.a == 0.0 || gap(u1, v1) || (ends && !gap(u0, v0))) { gl_Position = NOWHERE; return; }
      vec2 p = place(u1, v1);
      vec2 q = ends ? p : place(u2, v2);
      float len = length(q - p);
      vec2 direction = len > 0.0 ? (q - p) / len : vec2(1.0, 0.0);
      vec2 style = texelFetch(styles, texel(slot), 0).rg;
      float radius = ends ? dot : width * style.r * 0.5;
      dash = ends ? 0 : int(style.g);
      float reach = radius + 1.0;
      // Round ends close the joints; translucent lines go without, where they would show twice.
      float cap = (colour.a < 1.0 && !ends) || dash > 0 ? 0.0 : reach;
      local = vec2(gl_VertexID < 2 ? -cap : len + cap, (gl_VertexID & 1) == 0 ? -reach : reach);
      segment = vec2(len, radius);
      along = travelled + local.x;
      gl_Position = clip(p + direction * local.x + vec2(-direction.y, direction.x) * local.y);
    }`,
  fragment: `#version 300 es
    precision highp float;
    precision highp int;
    in vec2 local;
    in float along;
    flat in vec2 segment;
    flat in vec4 colour;
    flat in int dash;
    uniform float ratio; // device pixels per CSS pixel
    out vec4 result;
    const vec4 PATTERNS[${DASHES.length}] = vec4[](${DASHES.map(asVec4).join(", ")});
    float covered(float at, float begin, float end) { return clamp(min(at + 0.5, end) - max(at - 0.5, begin), 0.0, 1.0); }
    float lit() { // how much of this pixel the pattern draws
      if (dash == 0) return 1.0;
      vec4 pattern = PATTERNS[dash] * ratio;
      float period = pattern.x + pattern.y + pattern.z + pattern.w;
      float at = mod(along, period);
      float second = pattern.x + pattern.y;
      return max(max(covered(at, 0.0, pattern.x), covered(at, second, second + pattern.z)), covered(at, period, period + pattern.x));
    }
    void main() {
      float d = length(vec2(max(max(-local.x, local.x - segment.x), 0.0), local.y));
      float coverage = clamp(min(d + 0.5, segment.y) - max(d - 0.5, -segment.y), 0.0, 1.0);
      float a = colour.a * coverage * lit();
      result = vec4(colour.rgb * a, a);
    }`,
  uniforms: ["centre", "scale", "offset", "size", "palette", "styles", "alpha", "width", "dot", "ratio"],
};

const POINTS = {
  vertex: `${COMMON}
    layout(location = 0) in uint u;
    layout(location = 1) in uint v;
    layout(location = 2) in uint slot;
    uniform float diameter;
    uniform int marker;
    uniform highp sampler2D styles; // of each series: what multiplies the size, and a marker of its own, from 1
    flat out float box, radius;
    flat out int shape;
    void main() {
      colour = colourOf(slot);
      vec2 style = texelFetch(styles, texel(slot), 0).rg;
      shape = style.g > 0.0 ? int(style.g) - 1 : marker;
      radius = diameter * style.r * 0.5;
      box = ceil(2.0 * radius * (shape == 2 ? 1.1547005 : 1.0) + 2.0); // a triangle's tip is farther away than r
      gl_PointSize = box;
      gl_Position = colour.a == 0.0 || gap(u, v) ? NOWHERE : clip(place(u, v));
    }`,
  fragment: `#version 300 es
    precision highp float;
    precision highp int;
    flat in float box, radius;
    flat in int shape;
    flat in vec4 colour;
    out vec4 result;
    const float SLOPE = 1.7320508;
    void main() {
      vec2 p = (gl_PointCoord - 0.5) * box;
      float d = shape == 0 ? length(p) - radius // as numbered in markers.js
        : shape == 1 ? max(abs(p.x), abs(p.y)) - radius
        : max(p.y, SLOPE * 0.5 * abs(p.x) - p.y * 0.5) - radius / SLOPE;
      float a = colour.a * clamp(0.5 - d, 0.0, 1.0);
      result = vec4(colour.rgb * a, a);
    }`,
  uniforms: ["centre", "scale", "offset", "size", "palette", "styles", "alpha", "diameter", "marker"],
};

let shared; // undefined: not asked for yet; null: there is no WebGL2 here

/** Called with no argument whenever the context is lost or back. */
export const watchers = new Set();

/** The page's one context, or null where WebGL2 is missing, refused by the guard, or lost. */
export function sharedContext() {
  if (shared === undefined) shared = createContext();
  return shared && !shared.lost ? shared : null;
}

function createContext() {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", {alpha: true, antialias: false, depth: false, premultipliedAlpha: true});
  if (!gl) return null;
  const context = {canvas, gl, lost: false, programs: null};
  const settle = lost => {
    context.lost = lost || !prepare(context);
    for (const notify of watchers) notify();
  };
  canvas.addEventListener("webglcontextlost", event => {
    event.preventDefault(); // or it would never be restored
    settle(true);
  });
  canvas.addEventListener("webglcontextrestored", () => settle(false));
  return prepare(context) ? context : null;
}

function prepare(context) {
  const {gl} = context;
  const lines = compile(gl, LINES);
  const points = compile(gl, POINTS);
  if (!lines || !points) return false;
  context.programs = {lines, points}; // new objects after a loss: painters see that their buffers are gone
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.enable(gl.SCISSOR_TEST);
  gl.clearColor(0, 0, 0, 0);
  return true;
}

function compile(gl, {vertex, fragment, uniforms}) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) console.warn(`WebGL shader refused: ${gl.getShaderInfoLog(shader)}`);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    console.warn(`WebGL program refused, drawing on canvas: ${gl.getProgramInfoLog(program)}`);
    return null;
  }
  return {program, at: Object.fromEntries(uniforms.map(name => [name, gl.getUniformLocation(program, name)]))};
}

const BUFFERS = ["u", "v", "slots", "travelled"];
const TEXTURES = ["palette", "styles"];

/** One layer's data on the GPU, kept in step with its series. */
class Painter {
  #context = null;
  #programs = null;
  #seen = {};

  /** plot: as in canvas.js. Returns the points drawn. */
  paint(context, ctx, plot, style) {
    this.#renew(context);
    const {gl} = context;
    const m = ctx.getTransform();
    const pad = Math.ceil(this.overhang(style, plot.series) * m.a) + 1; // markers centred beyond the frame's edge still show
    const left = Math.floor(plot.frame.left * m.a + m.e), top = Math.floor(plot.frame.top * m.d + m.f);
    const w = Math.ceil(plot.frame.right * m.a + m.e) - left, h = Math.ceil(plot.frame.bottom * m.d + m.f) - top;
    if (!(w > 0 && h > 0)) return 0;
    const region = {left: left - pad, top: top - pad, width: w + 2 * pad, height: h + 2 * pad};
    const fresh = this.#upload(gl, plot);
    this.measure(gl, plot, m, fresh);
    this.#begin(context, region);
    const {program, at} = context.programs[this.kind];
    gl.useProgram(program);
    placeUniforms(gl, at, plot, m, region);
    gl.uniform1f(at.alpha, style.alpha);
    gl.uniform1f(at.ratio, m.a);
    this.#bind(gl, at.palette, 0, this.palette);
    this.#bind(gl, at.styles, 1, this.styles);
    gl.bindVertexArray(this.vertices);
    this.draw(gl, at, style, m.a);
    gl.bindVertexArray(null);
    ctx.save();
    ctx.resetTransform();
    ctx.drawImage(context.canvas, pad, pad, w, h, left, top, w, h);
    ctx.restore();
    return this.points;
  }

  release() {
    if (!this.#context || this.#programs !== this.#context.programs) return;
    const {gl} = this.#context;
    for (const name of BUFFERS) gl.deleteBuffer(this[name]);
    for (const name of TEXTURES) gl.deleteTexture(this[name]);
    gl.deleteVertexArray(this.vertices);
  }

  #bind(gl, uniform, unit, texture) {
    gl.uniform1i(uniform, unit);
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
  }

  #renew(context) {
    if (this.#programs === context.programs) return;
    const {gl} = context;
    this.#context = context;
    this.#programs = context.programs;
    this.#seen = {};
    for (const name of BUFFERS) this[name] = gl.createBuffer();
    for (const name of TEXTURES) {
      this[name] = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_2D, this[name]);
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    }
    this.vertices = gl.createVertexArray();
    gl.bindVertexArray(this.vertices);
    this.attributes.forEach(([buffer, shift], location) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this[buffer]);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribIPointer(location, 1, gl.UNSIGNED_INT, 4, 4 * shift);
      gl.vertexAttribDivisor(location, this.perInstance ? 1 : 0);
    });
    gl.bindVertexArray(null);
  }

  #begin({canvas, gl}, {width, height}) {
    if (canvas.width < width) canvas.width = width;
    if (canvas.height < height) canvas.height = height;
    gl.viewport(0, canvas.height - height, width, height);
    gl.scissor(0, canvas.height - height, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  #upload(gl, {series, vertical, x, y}) {
    const seen = this.#seen;
    const logs = `${vertical} ${x.log} ${y.log}`;
    const known = seen.revision === series.revision && seen.series === series && seen.logs === logs;
    if (!known || (series.selected !== null && seen.changes !== series.changes.length)) {
      this.laid = series.selected === null ? whole(series, vertical, x, y) : gathered(series, vertical, x, y);
      this.#uploadAll(gl, this.laid);
    } else {
      for (const {begin, end} of series.changes.slice(seen.changes)) {
        uploadPart(gl, this.u, begin, series.units("x", x.log).subarray(begin, end));
        uploadPart(gl, this.v, begin, series.units(vertical, y.log).subarray(begin, end));
      }
    }
    const styled = seen.palette === series.paletteRevision && seen.series === series;
    if (!styled) this.#uploadPalette(gl, series);
    this.points = 0;
    for (let r = 0; r < series.runs.length; r += 3) this.points += series.runs[r + 2] - series.runs[r + 1];
    this.#seen = {series, logs, revision: series.revision, changes: series.changes.length, palette: series.paletteRevision};
    return !known || !styled || seen.changes !== series.changes.length;
  }

  #uploadAll(gl, arrays) {
    for (const name of ["u", "v", "slots"]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this[name]);
      gl.bufferData(gl.ARRAY_BUFFER, arrays[name], gl.DYNAMIC_DRAW);
    }
    this.elements = arrays.u.length;
  }

  #uploadPalette(gl, series) {
    const rows = Math.max(1, Math.ceil(series.count / ROW));
    const texels = new Uint8Array(4 * ROW * rows);
    texels.set(series.rgba);
    for (let k = 0; k < series.count; k++) {
      if (!series.visible[k]) texels[4 * k + 3] = 0;
    }
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, ROW, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, texels);
    const styles = new Float32Array(2 * ROW * rows);
    for (let k = 0; k < series.count; k++) styles.set([series.width[k], series[this.pattern][k]], 2 * k);
    gl.bindTexture(gl.TEXTURE_2D, this.styles);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, ROW, rows, 0, gl.RG, gl.FLOAT, styles);
  }
}

export class LinePainter extends Painter {
  kind = "lines";
  pattern = "dash";
  perInstance = true;
  attributes = [["u", 0], ["u", 1], ["u", 2], ["v", 0], ["v", 1], ["v", 2], ["slots", 1]];
  #scale = "";

  overhang() {
    return 0;
  }

  /** How far along its line each point of a dashed line is, in pixels: another distance after each zoom. */
  measure(gl, {series, x, y}, m, fresh) {
    gl.bindVertexArray(this.vertices);
    const at = this.attributes.length;
    const dashed = series.dash.some(dash => dash > 0);
    const scale = dashed ? `${x.a * m.a} ${y.a * m.d}` : "";
    if (fresh || scale !== this.#scale) {
      this.#scale = scale;
      if (dashed) {
        gl.bindBuffer(gl.ARRAY_BUFFER, this.travelled);
        gl.bufferData(gl.ARRAY_BUFFER, travelled(series, this.laid, x.a * m.a, y.a * m.d), gl.DYNAMIC_DRAW);
        gl.enableVertexAttribArray(at);
        gl.vertexAttribPointer(at, 1, gl.FLOAT, false, 4, 4);
        gl.vertexAttribDivisor(at, 1);
      } else {
        gl.disableVertexAttribArray(at);
      }
    }
    gl.vertexAttrib1f(at, 0); // where there is no array
  }

  draw(gl, at, {width}, ratio) {
    gl.uniform1f(at.width, width * ratio);
    gl.uniform1f(at.dot, Math.max(width, 2) * ratio);
    if (this.elements > 2) gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.elements - 2);
  }
}

export class PointPainter extends Painter {
  kind = "points";
  pattern = "marker";
  perInstance = false;
  attributes = [["u", 0], ["v", 0], ["slots", 0]];

  measure() {}

  overhang({size}, series) {
    return size * largest(series) / 2 + 1;
  }

  draw(gl, at, {marker, size}, ratio) {
    gl.uniform1f(at.diameter, size * ratio);
    gl.uniform1i(at.marker, MARKERS.indexOf(marker));
    gl.drawArrays(gl.POINTS, 0, this.elements);
  }
}

function uploadPart(gl, buffer, begin, values) {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferSubData(gl.ARRAY_BUFFER, 4 * begin, values);
}

// Relative to the window's centre: there float32 is finest, however deep the zoom.
function placeUniforms(gl, at, {x, y}, m, region) {
  gl.uniform2f(at.centre, x.centre, y.centre);
  gl.uniform2f(at.scale, x.a * m.a, y.a * m.d);
  gl.uniform2f(at.offset, (x.centre * x.a + x.b) * m.a + m.e - region.left, (y.centre * y.a + y.b) * m.d + m.f - region.top);
  gl.uniform2f(at.size, region.width, region.height);
}

// What goes to the GPU as it lies in the series; `spans`: [slot, begin, end] of the points of each.
function whole(series, vertical, x, y) {
  const slots = new Uint32Array(series.arrays.x.length);
  for (let k = 0; k < series.count; k++) slots.fill(k, series.start[k], series.start[k] + series.capacity[k]);
  const spans = () => Array.from(series.start, (begin, k) => [k, begin, begin + series.length[k]]);
  return {u: series.units("x", x.log), v: series.units(vertical, y.log), slots, spans};
}

// The selected runs alone, with a gap before, between and behind them.
function gathered(series, vertical, x, y) {
  const {runs} = series;
  const u = series.units("x", x.log), v = series.units(vertical, y.log);
  let length = 1;
  for (let r = 0; r < runs.length; r += 3) length += runs[r + 2] - runs[r + 1] + 1;
  const arrays = {u: new Float32Array(length).fill(NaN), v: new Float32Array(length).fill(NaN), slots: new Uint32Array(length)};
  const spans = [];
  let to = 1;
  for (let r = 0; r < runs.length; r += 3) {
    const [slot, begin, end] = runs.subarray(r, r + 3);
    arrays.u.set(u.subarray(begin, end), to);
    arrays.v.set(v.subarray(begin, end), to);
    arrays.slots.fill(slot, to, to + end - begin);
    spans.push([slot, to, to + end - begin]);
    to += end - begin + 1;
  }
  return {...arrays, spans: () => spans};
}

// Of dashed lines the distance from their beginning to each point; a gap begins anew.
function travelled(series, {u, v, spans}, scaleX, scaleY) {
  const distances = new Float32Array(u.length);
  for (const [slot, begin, end] of spans()) {
    if (!series.dash[slot]) continue;
    let distance = 0;
    for (let i = begin + 1; i < end; i++) {
      const step = Math.hypot((u[i] - u[i - 1]) * scaleX, (v[i] - v[i - 1]) * scaleY);
      distance = Number.isFinite(step) ? distance + step : 0;
      distances[i] = distance;
    }
  }
  return distances;
}
