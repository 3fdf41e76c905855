// Many markers on a CPU: prepared coverage masks blended into an image, a hundred times faster than paths.

import {markerDistance} from "./markers.js";

const PHASES = 4; // a mask's centre lies at quarters of a pixel
const sheet = {canvas: null, ctx: null}; // one for all plots: a paint puts its image there and takes it at once

/** Pixels of transparent black, into which stamps are blended; `reach` is how far a mask of markers of that size extends from its centre's pixel. */
export class StampImage {
  #masks = new Map(); // by marker and size

  constructor(size, width, height) {
    this.reach = Math.ceil(size / 2) + 1;
    this.margin = 2 * this.reach; // markers centred just outside still show, and no mask needs a bounds check
    this.width = width + 2 * this.margin;
    this.height = height + 2 * this.margin;
    this.image = new ImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /** The masks of a marker that is at most as large as was said. */
  masks(marker, size) {
    const key = `${marker} ${size}`;
    if (!this.#masks.has(key)) this.#masks.set(key, makeMasks(marker, size, Math.ceil(size / 2) + 1, this.width));
    return this.#masks.get(key);
  }

  /** Stamps the points [begin, end) with these masks at (u * ax + bx, v * ay + by), in pixels from the image's corner within the margin. */
  stamp(u, v, begin, end, {ax, bx, ay, by}, [red, green, blue, alpha], masks) {
    const {pixels, width, reach, margin} = this;
    const maxX = (width - reach) * PHASES, maxY = (this.height - reach) * PHASES, min = reach * PHASES;
    const color = (blue << 16 | green << 8 | red) >>> 0;
    const solidColor = (alpha << 24 | color) >>> 0;
    const opaque = alpha === 255;
    const sx = ax * PHASES, ox = (bx + margin) * PHASES, sy = ay * PHASES, oy = (by + margin) * PHASES;
    for (let i = begin; i < end; i++) {
      const x = u[i] * sx + ox;
      const y = v[i] * sy + oy;
      if (!(x >= min && x < maxX && y >= min && y < maxY)) continue;
      const column = x | 0, row = y | 0;
      const {inner, edge, coverage} = masks[(row & 3) << 2 | (column & 3)];
      const at = (row >> 2) * width + (column >> 2);
      if (opaque) {
        for (let j = 0; j < inner.length; j++) pixels[at + inner[j]] = solidColor;
      } else {
        for (let j = 0; j < inner.length; j++) pixels[at + inner[j]] = over(pixels[at + inner[j]], color, alpha);
      }
      for (let j = 0; j < edge.length; j++) {
        pixels[at + edge[j]] = over(pixels[at + edge[j]], color, opaque ? coverage[j] : coverage[j] * alpha / 255 | 0);
      }
    }
  }

  /** Draws the image, margin cut off, with its corner at device pixel (left, top). */
  draw(ctx, left, top) {
    const {width, height, margin} = this;
    const {canvas, ctx: sheetCtx} = sheetOf(width, height);
    sheetCtx.putImageData(this.image, 0, 0);
    const [w, h] = [width - 2 * margin, height - 2 * margin];
    ctx.save();
    ctx.resetTransform();
    ctx.drawImage(canvas, margin, margin, w, h, left, top, w, h);
    ctx.restore();
  }
}

function sheetOf(width, height) {
  sheet.canvas ??= document.createElement("canvas");
  if (sheet.canvas.width < width) sheet.canvas.width = width;
  if (sheet.canvas.height < height) sheet.canvas.height = height;
  sheet.ctx ??= sheet.canvas.getContext("2d", {willReadFrequently: true});
  return sheet;
}

// Colour `color` (0xBBGGRR) with `alpha` over a pixel that is not premultiplied.
function over(pixel, color, alpha) {
  const below = pixel >>> 24;
  if (below === 0) return (alpha << 24 | color) >>> 0;
  const rest = below * (255 - alpha) / 255;
  const total = alpha + rest;
  if (total < 1) return pixel;
  const weight = alpha / total;
  const red = pixel & 255, green = pixel >> 8 & 255, blue = pixel >> 16 & 255;
  return ((total + 0.5) << 24
    | (blue + ((color >> 16) - blue) * weight + 0.5) << 16
    | (green + ((color >> 8 & 255) - green) * weight + 0.5) << 8
    | (red + ((color & 255) - red) * weight + 0.5)) >>> 0;
}

// One mask per phase: offsets of the pixels wholly covered, and of those on the edge with their coverage (0 to 255).
function makeMasks(marker, size, reach, width) {
  const distance = markerDistance[marker];
  const masks = [];
  for (let phase = 0; phase < PHASES * PHASES; phase++) {
    const cx = ((phase & 3) + 0.5) / PHASES - 0.5, cy = ((phase >> 2) + 0.5) / PHASES - 0.5;
    const inner = [], edge = [], coverage = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const covered = Math.round(255 * Math.min(1, Math.max(0, 0.5 - distance(x - cx, y - cy, size / 2))));
        if (covered === 255) inner.push(y * width + x);
        else if (covered > 0) edge.push(y * width + x), coverage.push(covered);
      }
    }
    masks.push({inner: Int32Array.from(inner), edge: Int32Array.from(edge), coverage: Uint8Array.from(coverage)});
  }
  return masks;
}
