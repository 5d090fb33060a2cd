import { defineConfig } from 'vite';

export default defineConfig({
  base: '/static/',
  esbuild: { jsx: 'automatic' },
  worker: { format: 'es' },
  build: {
    rollupOptions: {
      input: 'graphiql.html',
      onwarn(warning, warn) {
        // Marks for servers that render React, which there are none of here.
        if (warning.code !== 'MODULE_LEVEL_DIRECTIVE') warn(warning);
      },
    },
    // The editor alone is larger than what Vite warns of.
    chunkSizeWarningLimit: 8000,
  },
});
