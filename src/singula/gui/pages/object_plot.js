// Histogram or scatter plot of objects: a click selects an object or a bin, a drag sets limits.
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 240, 52, 10, 10, 40];

export default {
  template: `<figure class="chart object-plot" v-if="bars || cloud">
    <svg :viewBox="'0 0 ${WIDTH} ${HEIGHT}'" role="img" :aria-label="label" ref="svg"
      @pointerdown="down" @pointermove="move" @pointerup="up" @pointercancel="drag = null">
      <g v-for="tick in ticks(y, false)"><line class="grid" :x1="${LEFT}" :x2="${WIDTH - RIGHT}" :y1="tick.at" :y2="tick.at"/>
        <text class="end" :x="${LEFT - 6}" :y="tick.at + 4">{{ tick.text }}</text></g>
      <g v-for="tick in ticks(x, true)"><text class="middle" :x="tick.at" y="${HEIGHT - BOTTOM + 16}">{{ tick.text }}</text></g>
      <line class="axis" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM}"/>
      <template v-if="bars">
        <template v-for="(count, i) in bars.all" :key="i">
          <rect class="bar-all" v-bind="bar(i, count)"/>
          <rect class="bar-pass" :class="{ chosen: bars.bin_of[selected] === i }" v-bind="bar(i, bars.passing[i])"/>
        </template>
      </template>
      <template v-else-if="cloud">
        <circle v-for="p in cloud.points" :key="p[0]" :cx="px(p[1])" :cy="py(p[2])" r="3" :class="p[3] ? 'point' : 'point off'"/>
        <circle v-if="mark" class="point chosen" :cx="px(mark[1])" :cy="py(mark[2])" r="6"/>
      </template>
      <rect v-if="drag && drag.far" class="brush" v-bind="brush()"/>
      <text class="middle" x="${(WIDTH + LEFT) / 2}" y="${HEIGHT - 6}">{{ xlabel }}</text>
    </svg>
  </figure>`,
  props: {
    bars: Object, // edges, all, passing, bin_of
    cloud: Object, // points, x, y
    xlabel: String,
    label: String,
    selected: { type: Number, default: 0 },
  },
  data() {
    return { drag: null };
  },
  computed: {
    x() {
      return this.bars ? [this.bars.edges[0], this.bars.edges.at(-1)] : wide(this.cloud.x);
    },
    y() {
      return this.bars ? [0, Math.max(1, ...this.bars.all)] : wide(this.cloud.y);
    },
    mark() {
      return this.cloud?.points.find((point) => point[0] === this.selected);
    },
  },
  methods: {
    px(value) {
      return LEFT + ((value - this.x[0]) / (this.x[1] - this.x[0])) * (WIDTH - LEFT - RIGHT);
    },
    py(value) {
      return HEIGHT - BOTTOM - ((value - this.y[0]) / (this.y[1] - this.y[0])) * (HEIGHT - TOP - BOTTOM);
    },
    ticks(range, across) {
      return [0, 0.5, 1].map((share) => {
        const value = range[0] + share * (range[1] - range[0]);
        return { at: across ? this.px(value) : this.py(value), text: Number(value.toPrecision(3)) };
      });
    },
    bar(i, count) {
      const [left, right] = [this.px(this.bars.edges[i]), this.px(this.bars.edges[i + 1])];
      const top = this.py(count);
      return { x: left + 0.5, width: Math.max(0.5, right - left - 1), y: top, height: HEIGHT - BOTTOM - top };
    },
    at(event) {
      const place = this.$refs.svg.getBoundingClientRect();
      const ratio = WIDTH / Math.max(1, place.width);
      return [(event.clientX - place.left) * ratio, (event.clientY - place.top) * ratio];
    },
    value([cx, cy]) {
      const [dx, dy] = [WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM];
      const across = Math.min(1, Math.max(0, (cx - LEFT) / dx));
      const up = Math.min(1, Math.max(0, (HEIGHT - BOTTOM - cy) / dy));
      return [this.x[0] + across * (this.x[1] - this.x[0]), this.y[0] + up * (this.y[1] - this.y[0])];
    },
    down(event) {
      this.$refs.svg.setPointerCapture(event.pointerId);
      this.drag = { from: this.at(event), to: this.at(event), far: false };
    },
    move(event) {
      if (!this.drag) return;
      const to = this.at(event);
      const far = Math.hypot(to[0] - this.drag.from[0], to[1] - this.drag.from[1]) > 6;
      this.drag = { ...this.drag, to, far: this.drag.far || far };
    },
    up(event) {
      const drag = this.drag;
      this.drag = null;
      if (!drag) return;
      if (!drag.far) return this.click(this.at(event));
      const [a, b] = [this.value(drag.from), this.value(drag.to)];
      const limits = (i) => [Math.min(a[i], b[i]), Math.max(a[i], b[i])];
      this.$emit("limits", this.bars ? [limits(0)] : [limits(0), limits(1)]);
    },
    click([cx, cy]) {
      if (this.bars) {
        const i = Math.min(this.bars.all.length - 1, Math.floor(((cx - LEFT) / (WIDTH - LEFT - RIGHT)) * this.bars.all.length));
        if (i >= 0) this.$emit("limits", [[this.bars.edges[i], this.bars.edges[i + 1]]]);
        return;
      }
      const far = (point) => Math.hypot(this.px(point[1]) - cx, this.py(point[2]) - cy);
      const nearest = this.cloud.points.reduce((best, p) => (!best || far(p) < far(best) ? p : best), null);
      if (nearest && far(nearest) < 14) this.$emit("choose", nearest[0]);
    },
    brush() {
      const { from, to } = this.drag;
      const y = this.bars ? [TOP, HEIGHT - BOTTOM] : [from[1], to[1]].sort((a, b) => a - b);
      const x = [from[0], to[0]].sort((a, b) => a - b);
      return { x: x[0], width: x[1] - x[0], y: y[0], height: y[1] - y[0] };
    },
  },
};

function wide([low, high]) {
  const margin = 0.04 * (high - low) || 0.5;
  return [low - margin, high + margin];
}
