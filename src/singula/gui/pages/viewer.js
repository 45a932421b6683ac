// Tiled image viewer of any size with zoom, pan and layers, by mouse, touch or keyboard.
import { saveCanvas } from "singula-viewer/download.js";
import { Gestures } from "singula-viewer/gestures.js";
import { drawBox, drawCenter, drawGuides, drawScale } from "singula-viewer/marks.js";
import { moveOthers, viewers } from "singula-viewer/registry.js";

const TILE = 512;
const MAX_TILES = 400;
const MAX_DELAY = 60; // milliseconds after which incomplete tiles are drawn
const VALUE_DELAY = 60; // milliseconds between requests of values

export default {
  template: `<div class="viewer">
    <canvas ref="canvas" tabindex="0" role="img" :aria-label="label"></canvas>
    <div class="viewer-bar">
      <button type="button" @click="zoomBy(1.5)" aria-label="Zoom in" title="Zoom in (+)">+</button>
      <button type="button" @click="zoomBy(1 / 1.5)" aria-label="Zoom out" title="Zoom out (−)">−</button>
      <button type="button" @click="fit()" aria-label="Show the whole image" title="Whole image (0)">⤢</button>
      <button v-if="file" type="button" @click="save()" aria-label="Download the picture as shown" title="Download the picture as shown">↓</button>
    </div>
    <div class="viewer-place" aria-hidden="true">{{ place }}{{ values }}</div>
  </div>`,
  props: {
    source: String,
    width: Number,
    height: Number,
    levels: Number,
    slice: Number,
    look: { type: String, default: "auto" },
    map: { type: String, default: "" },
    version: Number,
    layers: { type: Array, default: () => [] },
    box: Array,
    guides: Array,
    aspect: { type: Number, default: 1 },
    pixel_size: Object,
    group: String,
    file: String,
    label: String,
  },
  data() {
    return { place: "", values: "" };
  },
  mounted() {
    this.tiles = new Map();
    this.awaited = 0;
    this.view = { scale: 1, x: 0, y: 0 };
    this.fitted = true;
    const canvas = this.$refs.canvas;
    this.gestures = new Gestures(this, canvas);
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.$el);
    canvas.addEventListener("wheel", this.wheel, { passive: false });
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", this.key);
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    viewers.set(this.$el.id, this);
    this.resized();
  },
  unmounted() {
    this.observer.disconnect();
    viewers.delete(this.$el.id);
  },
  watch: {
    source() {
      this.tiles.clear();
      this.latest = new Map();
      this.fitted = true;
      this.fit();
      this.centerLater();
    },
    slice: "draw",
    look: "draw",
    map: "draw",
    version: "draw",
    layers: { deep: true, handler: "draw" },
    box: "draw",
    guides: "draw",
    pixel_size: "draw",
  },
  methods: {
    resized() {
      const canvas = this.$refs.canvas;
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(this.$el.clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(this.$el.clientHeight * ratio));
      if (this.centerLater()) return;
      if (this.fitted) this.fit();
      else this.draw();
    },
    fit() {
      if (!this.source) return;
      const canvas = this.$refs.canvas;
      const scale = 0.98 * this.whole();
      this.view = {
        scale,
        x: (canvas.width - this.width * scale) / 2,
        y: (canvas.height - this.height * scale * this.aspect) / 2,
      };
      this.changed(true);
    },
    whole() {
      const canvas = this.$refs.canvas;
      return Math.min(canvas.width / this.width, canvas.height / (this.height * this.aspect));
    },
    // Draws after a movement. A finger scrolls the page if the whole image is shown.
    changed(fitted) {
      this.fitted = fitted;
      this.$refs.canvas.style.touchAction = fitted ? "pan-y" : "none";
      moveOthers(this);
      this.draw();
    },
    follow(other) {
      const [mine, theirs] = [this.$refs.canvas, other.$refs.canvas];
      const ratio = mine.width / Math.max(1, theirs.width);
      this.view = { scale: other.view.scale * ratio, x: other.view.x * ratio, y: other.view.y * ratio };
      this.fitted = other.fitted;
      mine.style.touchAction = theirs.style.touchAction;
      this.draw();
    },
    center(y, x, size) {
      const canvas = this.$refs.canvas;
      if (canvas.width < 2 || !this.source) {
        this.wanted = [y, x, size]; // the viewer was hidden until now
        return;
      }
      const preferred = (0.25 * Math.min(canvas.width, canvas.height)) / Math.max(size, 4);
      const scale = this.limited(Math.max(this.view.scale, Math.min(preferred, 16)));
      const high = scale * this.aspect;
      this.view = { scale, x: canvas.width / 2 - x * scale, y: canvas.height / 2 - y * high };
      this.changed(false);
    },
    // Centers the region of a call before the viewer had a size or an image.
    centerLater() {
      if (!this.wanted || this.$refs.canvas.width < 2 || !this.source) return false;
      const wanted = this.wanted;
      this.wanted = null;
      this.fit();
      this.center(...wanted);
      return true;
    },
    limited(scale) {
      return Math.min(Math.max(scale, this.whole() * 0.5), 64);
    },
    zoomBy(factor, at) {
      const canvas = this.$refs.canvas;
      const [cx, cy] = at || [canvas.width / 2, canvas.height / 2];
      const scale = this.limited(this.view.scale * factor);
      const real = scale / this.view.scale;
      this.view = {
        scale,
        x: cx - (cx - this.view.x) * real,
        y: cy - (cy - this.view.y) * real,
      };
      this.changed(false);
    },
    panBy(dx, dy) {
      this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
      this.changed(false);
    },
    pixel([cx, cy]) {
      return [
        (cy - this.view.y) / (this.view.scale * this.aspect),
        (cx - this.view.x) / this.view.scale,
      ];
    },
    wheel(event) {
      event.preventDefault();
      const factor = Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015));
      this.zoomBy(factor, this.gestures.at(event));
    },
    hover(pixel) {
      const [y, x] = pixel ? pixel.map(Math.floor) : [-1, -1];
      const inside = y >= 0 && x >= 0 && y < this.height && x < this.width;
      const place = inside ? `y ${y}  x ${x}` : "";
      if (place === this.place) return;
      this.place = place;
      this.values = "";
      clearTimeout(this.asking);
      if (inside) this.asking = setTimeout(() => this.ask(place, y, x), VALUE_DELAY);
    },
    // Shows the values at a pixel, unless the pointer has moved in the meantime.
    async ask(place, y, x) {
      const shown = this.layers.some((layer) => layer.name === "map" && layer.shown);
      const address = this.source.replace("/tile/", "/value/");
      const query = shown ? `?map=${encodeURIComponent(this.map)}` : "";
      const answer = await fetch(`${address}/${this.slice}/${y}/${x}${query}`);
      const text = answer.ok ? await answer.text() : "";
      if (this.place === place && text) this.values = `  ${text}`;
    },
    save() {
      saveCanvas(this.$refs.canvas, this.file);
    },
    pick([y, x]) {
      this.$emit("pick", { y: Math.floor(y), x: Math.floor(x) });
    },
    key(event) {
      const canvas = this.$refs.canvas;
      const step = Math.min(canvas.width, canvas.height) / 8;
      const actions = {
        ArrowLeft: () => this.panBy(step, 0),
        ArrowRight: () => this.panBy(-step, 0),
        ArrowUp: () => this.panBy(0, step),
        ArrowDown: () => this.panBy(0, -step),
        "+": () => this.zoomBy(1.25),
        "=": () => this.zoomBy(1.25),
        "-": () => this.zoomBy(0.8),
        0: () => this.fit(),
        Home: () => this.fit(),
        PageUp: () => this.$emit("step", 1),
        PageDown: () => this.$emit("step", -1),
        Enter: () => this.pick(this.pixel([canvas.width / 2, canvas.height / 2])),
      };
      if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in actions)) return;
      event.preventDefault();
      actions[event.key]();
    },
    tile(layer, version, level, row, column) {
      const look = layer === "image" ? this.look : layer === "map" ? this.map : "-";
      const name = `${layer}/${this.slice}/${level}/${row}/${column}`;
      const key = `${version}/${name}/${look}`;
      let tile = this.tiles.get(key);
      if (!tile) {
        const image = new Image();
        tile = { image, name, ready: false };
        const arrived = (ready) => {
          tile.ready = ready;
          if (ready) this.latest.set(name, tile);
          if (this.latest.size > MAX_TILES) this.latest.delete(this.latest.keys().next().value);
          this.awaited -= 1;
          // Drawing is expensive: draw once for all tiles, unless some are late.
          if (this.awaited === 0) this.draw();
          else this.late = this.late || setTimeout(() => this.draw(), MAX_DELAY);
        };
        this.awaited += 1;
        image.src = `${this.source}/${key}`;
        // decode() runs outside of the main thread.
        image.decode().then(() => arrived(true), () => arrived(false));
        this.tiles.set(key, tile);
        if (this.tiles.size > MAX_TILES) this.tiles.delete(this.tiles.keys().next().value);
      }
      return tile;
    },
    draw() {
      if (this.waiting || !this.view || !this.source) return;
      this.waiting = true;
      clearTimeout(this.late);
      this.late = 0;
      requestAnimationFrame(() => {
        this.waiting = false;
        if (this.$refs.canvas) this.paint();
      });
    },
    paint() {
      this.latest = this.latest || new Map();
      const canvas = this.$refs.canvas;
      const context = canvas.getContext("2d");
      const { scale, x, y } = this.view;
      const tall = scale * this.aspect;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingEnabled = scale < 1;
      const level = Math.min(this.levels - 1, Math.max(0, Math.floor(Math.log2(1 / scale) + 0.01)));
      const side = TILE * 2 ** level;
      const columns = [Math.max(0, Math.floor(-x / scale / side)), Math.ceil(Math.min(this.width, (canvas.width - x) / scale) / side)];
      const rows = [Math.max(0, Math.floor(-y / tall / side)), Math.ceil(Math.min(this.height, (canvas.height - y) / tall) / side)];
      let complete = true;
      for (const layer of this.layers) {
        if (!layer.shown) continue;
        context.globalAlpha = layer.opacity;
        const version = layer.name === "image" || layer.name === "map" ? 0 : this.version;
        for (let row = rows[0]; row < rows[1]; row++) {
          for (let column = columns[0]; column < columns[1]; column++) {
            let tile = this.tile(layer.name, version, level, row, column);
            if (!tile.ready) {
              complete = false;
              // Draw the previous version in the meantime, to avoid flickering.
              tile = this.latest.get(tile.name);
            }
            if (!tile || !tile.ready) continue;
            const left = Math.round(x + column * side * scale);
            const top = Math.round(y + row * side * tall);
            const wide = tile.image.naturalWidth * 2 ** level;
            const high = tile.image.naturalHeight * 2 ** level;
            const right = Math.round(x + Math.min(this.width, column * side + wide) * scale);
            const bottom = Math.round(y + Math.min(this.height, row * side + high) * tall);
            context.drawImage(tile.image, left, top, right - left, bottom - top);
          }
        }
      }
      context.globalAlpha = 1;
      this.mark(context);
      if (complete) canvas.dataset.drawn = `${this.version}/${this.slice}`;
      canvas.dataset.complete = complete;
    },
    mark(context) {
      if (this.guides) drawGuides(context, this.view, this.aspect, this.guides);
      if (this.box && this.box.length === 4) drawBox(context, this.view, this.aspect, this.box);
      if (this.pixel_size) {
        const bar = drawScale(context, this.view.scale, this.pixel_size);
        this.$refs.canvas.dataset.bar = `${bar.length} ${bar.pixels}`;
      }
      if (this.$refs.canvas.matches(":focus-visible")) drawCenter(context);
    },
  },
};
