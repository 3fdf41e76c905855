// Runs before every other script of the page (a classic script: modules would come too late).
// A software rasteriser is 10 to 100 times slower than canvas paths drawn by the CPU, for WebGL and for an accelerated 2D canvas
// alike: there, WebGL is refused (Bokeh and the layers then draw on canvas by themselves) and 2D canvases are kept on the CPU.
// It goes by the renderer's name, because failIfMajorPerformanceCaveat accepts software renderers in several browsers.
// ?gl=force keeps WebGL on such a machine, for tests; ?gl=off refuses it everywhere.
(() => {
  const native = HTMLCanvasElement.prototype.getContext;
  const wish = new URLSearchParams(location.search).get("gl");
  const software = /swiftshader|llvmpipe|softpipe|software|basic render/i;
  let slow; // unknown until a canvas is first asked for

  function isSoftware() {
    const gl = native.call(document.createElement("canvas"), "webgl");
    if (!gl) return true;
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    const name = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return software.test(name);
  }

  HTMLCanvasElement.prototype.getContext = function (type, attributes) {
    slow ??= isSoftware();
    if (/webgl/.test(type) && (wish === "off" || (slow && wish !== "force"))) return null;
    if (type === "2d" && slow) attributes = {...attributes, willReadFrequently: true};
    return native.call(this, type, attributes);
  };
})();
