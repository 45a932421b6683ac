// Table that is sorted and read with the keyboard: one tab stop for all rows.
const PAGE = 100;
const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);

export default {
  template: `<div class="objects">
    <div class="objects-scroll">
      <table role="grid" :aria-label="caption" :aria-rowcount="order.length">
        <thead><tr>
          <th v-for="(column, i) in columns" :key="column.name" scope="col" :aria-sort="sorted(i)"
            :class="{ text: typeof rows[0]?.[i] === 'string' }">
            <button type="button" @click="sort(i)">{{ column.label }}<span aria-hidden="true">{{ arrow(i) }}</span></button>
          </th>
        </tr></thead>
        <tbody ref="body" @keydown="key">
          <tr v-for="row in page" :key="row[0]" :data-id="row[0]" :class="{ selected: row[0] === chosen }"
            :aria-selected="row[0] === chosen" :tabindex="row[0] === stop ? 0 : -1" @click="choose(row[0])">
            <td v-for="(value, i) in row" :key="i" :class="{ text: typeof value === 'string' }">{{ value === null ? "–" : value }}</td>
          </tr>
        </tbody>
      </table>
      <p v-if="!order.length" class="note">{{ empty }}</p>
    </div>
    <div class="objects-foot" v-if="order.length">
      <span>{{ first + 1 }}–{{ first + page.length }} of {{ order.length }}</span>
      <button type="button" :disabled="!number" @click="number -= 1" aria-label="Previous rows">‹</button>
      <button type="button" :disabled="number >= last" @click="number += 1" aria-label="Next rows">›</button>
    </div>
  </div>`,
  props: {
    columns: { type: Array, default: () => [] },
    rows: { type: Array, default: () => [] }, // values in the order of the columns; the first is the id
    shown: { type: Array, default: null }, // ids of objects that pass the filters; null: all
    selected: { type: [Number, String], default: 0 },
    caption: { type: String, default: "Objects of the image" },
    follow: { type: Boolean, default: true }, // the arrow keys choose rows; otherwise, only Enter does
    empty: String,
  },
  data() {
    return { by: 0, down: false, number: 0, chosen: this.selected, focused: null };
  },
  computed: {
    order() {
      const allowed = this.shown && new Set(this.shown);
      const rows = allowed ? this.rows.filter((row) => allowed.has(row[0])) : [...this.rows];
      const [by, sign] = [this.by, this.down ? -1 : 1];
      // Objects without a value are last in both directions.
      return rows.sort((a, b) => {
        if (a[by] === null || b[by] === null) return (a[by] === null) - (b[by] === null);
        return sign * compare(a[by], b[by]) || compare(a[0], b[0]);
      });
    },
    last() {
      return Math.max(0, Math.ceil(this.order.length / PAGE) - 1);
    },
    first() {
      return Math.min(this.number, this.last) * PAGE;
    },
    page() {
      return this.order.slice(this.first, this.first + PAGE);
    },
    stop() {
      const ids = this.page.map((row) => row[0]);
      return [this.focused, this.chosen].find((id) => ids.includes(id)) ?? ids[0];
    },
  },
  watch: {
    selected(id) {
      this.chosen = id;
      this.open(id);
    },
    columns(now, before) {
      const name = before[this.by]?.name;
      this.by = Math.max(0, now.findIndex((column) => column.name === name));
    },
  },
  methods: {
    sorted(i) {
      return i !== this.by ? "none" : this.down ? "descending" : "ascending";
    },
    arrow(i) {
      return i !== this.by ? "" : this.down ? " ▼" : " ▲";
    },
    sort(i) {
      this.down = i === this.by ? !this.down : false;
      this.by = i;
      this.open(this.chosen);
    },
    // Shows the page of an object, and scrolls the table, but not the page of the browser, to it.
    open(id, focus = false) {
      const position = this.order.findIndex((row) => row[0] === id);
      if (position < 0) return;
      this.number = Math.floor(position / PAGE);
      this.$nextTick(() => {
        const row = this.$refs.body?.querySelector(`[data-id="${CSS.escape(id)}"]`);
        const box = this.$el.querySelector(".objects-scroll");
        if (!row || !box) return;
        const [inner, outer] = [row.getBoundingClientRect(), box.getBoundingClientRect()];
        const head = box.querySelector("thead").offsetHeight;
        if (inner.top < outer.top + head) box.scrollTop += inner.top - outer.top - head;
        else if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
        if (focus) row.focus({ preventScroll: true });
      });
    },
    choose(id, focus = false) {
      this.chosen = id;
      this.focused = null;
      this.open(id, focus);
      this.$emit("choose", id);
    },
    key(event) {
      const position = this.order.findIndex((row) => row[0] === this.stop);
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
      if (event.key in steps) {
        const next = Math.min(Math.max(0, position + steps[event.key]), this.order.length - 1);
        const id = this.order[next][0];
        if (this.follow) this.choose(id, true);
        else {
          this.focused = id;
          this.open(id, true);
        }
      } else if (event.key === "Enter" || event.key === " ") {
        this.choose(this.stop, true);
      } else return;
      event.preventDefault();
    },
  },
};
