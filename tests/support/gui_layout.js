// Return contents outside of the window, small targets, and targets over each other.
([width, least]) => {
  const faults = [];
  const words = (e) => (e.getAttribute('aria-label') || e.innerText || e.outerHTML).slice(0, 60);
  const visible = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const clipped = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement) {
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(p).overflowX)) return p;
    }
  };
  if (document.documentElement.scrollWidth > width) faults.push('the page scrolls sideways');
  const select = 'a[href], button, input, select, textarea, canvas, [tabindex="0"], [role=tab]';
  const targets = [];
  for (const e of document.querySelectorAll(`main *, header *`)) {
    if (!visible(e) || e.closest('.skip, .sr-only, .q-focus-helper, [aria-hidden=true]')) continue;
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const frame = clipped(e);
    const has_text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!frame && (has_text || e.matches(select)) && (box.right > width + 1 || box.left < -1)) {
      faults.push(`cut off: ${words(e)}`);
    }
    const style = getComputedStyle(e);
    const hides = style.overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1;
    if (hides && has_text && style.textOverflow !== 'ellipsis') faults.push(`cut text: ${words(e)}`);
    if (e.matches(select)) {
      const whole = e.closest('.q-field__control, .q-checkbox, .q-radio, .q-toggle, .q-slider, label') || e;
      const in_text = e.matches('a') && style.display === 'inline' && e.closest('p, .note');
      if (!targets.includes(whole) && !in_text) targets.push(whole);
    }
  }
  const boxes = targets.map((e) => {
    let box = e.getBoundingClientRect();
    let [left, top, right, bottom] = [box.left, box.top, box.right, box.bottom];
    for (let p = e.parentElement; p; p = p.parentElement) {
      if (getComputedStyle(p).overflowY === 'visible') continue;
      const outer = p.getBoundingClientRect();
      left = Math.max(left, outer.left); right = Math.min(right, outer.right);
      top = Math.max(top, outer.top); bottom = Math.min(bottom, outer.bottom);
    }
    return [left, top, right, bottom];
  });
  targets.forEach((e, i) => {
    const [left, top, right, bottom] = boxes[i];
    if (right <= left || bottom <= top) return;
    const box = e.getBoundingClientRect();
    if (box.width < least - 0.5 || box.height < least - 0.5) {
      faults.push(`small, ${box.width.toFixed(0)} x ${box.height.toFixed(0)}: ${words(e)}`);
    }
    for (let k = 0; k < i; k += 1) {
      const other = targets[k];
      if (other.contains(e) || e.contains(other)) continue;
      if (e.closest('.viewer-bar, .bar') || other.closest('.viewer-bar, .bar')) continue;
      const [l, t, r, b] = boxes[k];
      const [wide, high] = [Math.min(right, r) - Math.max(left, l), Math.min(bottom, b) - Math.max(top, t)];
      if (wide > 1 && high > 1) faults.push(`over each other: ${words(other)} / ${words(e)}`);
    }
  });
  return [...new Set(faults)];
}
