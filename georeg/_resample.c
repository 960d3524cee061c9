/* Positions between the nodes of a lattice, and the interpolation of pixels there.

   A plain shared library, called by georeg/resampling.py, which says what each argument is. No result depends on the window
   it is computed in: every pixel is the same sequence of operations on the same numbers. */

#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#define INLINE __forceinline
#else
#define EXPORT __attribute__((visibility("default")))
#define INLINE inline __attribute__((always_inline))
#endif

#define MAX_TAPS 6

/* Bilinear between nodes (2, n_rows, n_cols); NaN beyond them. low and high: of what is not NaN, x then y. */
EXPORT int georeg_positions_v1(const double *nodes, int64_t n_rows, int64_t n_cols, double first_row, double first_col,
                               double step, int64_t height, int64_t width, double *out, double *low, double *high)
{
    int64_t *node = malloc((size_t)width * sizeof *node);
    double *across = malloc((size_t)width * sizeof *across), *line = malloc((size_t)n_cols * sizeof *line);
    if (!node || !across || !line) {
        free(node), free(across), free(line);
        return -1;
    }
    for (int64_t col = 0; col < width; col++) {
        double at = ((double)col + first_col + 0.5) / step;
        int64_t before = at < 0 ? 0 : (int64_t)at;
        node[col] = before > n_cols - 2 ? n_cols - 2 : before;
        across[col] = at >= 0 && at <= (double)(n_cols - 1) ? at - (double)node[col] : NAN;
    }
    for (int axis = 0; axis < 2; axis++) {
        low[axis] = INFINITY, high[axis] = -INFINITY;
        for (int64_t row = 0; row < height; row++) {
            double at = ((double)row + first_row + 0.5) / step;
            int64_t before = at < 0 ? 0 : (int64_t)at;
            before = before > n_rows - 2 ? n_rows - 2 : before;
            double down = at >= 0 && at <= (double)(n_rows - 1) ? at - (double)before : NAN;
            const double *above = nodes + (axis * n_rows + before) * n_cols, *below = above + n_cols;
            for (int64_t k = 0; k < n_cols; k++)
                line[k] = above[k] * (1 - down) + below[k] * down;
            double *to = out + (axis * height + row) * width;
            for (int64_t col = 0; col < width; col++) {
                double value = line[node[col]] * (1 - across[col]) + line[node[col] + 1] * across[col];
                to[col] = value;
                if (value < low[axis]) low[axis] = value;
                if (value > high[axis]) high[axis] = value;
            }
        }
    }
    free(node), free(across), free(line);
    return 0;
}

/* A position in pixels from the first centre, rounded to 2^-20 of one (which is the last bit of numbers about 2^32), so that a
   whole number is subtracted from it without loss. */
static INLINE double centred(double src_px, double reduce)
{
    const double unit = 6442450944.0; /* 1.5 * 2^32 */
    return ((reduce == 1 ? src_px : src_px / reduce) - 0.5 + unit) - unit;
}

#define REAL float
#define NAME(name) name##_f32_v1
#include "_resample.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64_v1
#include "_resample.c"

#else

static INLINE void NAME(weights)(const REAL *table, int64_t taps, int64_t cells, double beyond, REAL *out)
{
    double at = beyond * (double)cells;
    int64_t cell = (int64_t)at;
    const REAL part = (REAL)(at - (double)cell), *row = table + cell * taps;
    for (int64_t k = 0; k < taps; k++)
        out[k] = row[k] + part * (row[k + taps] - row[k]);
}

static INLINE int64_t NAME(inside)(int64_t first, int64_t last) { return first < 0 ? 0 : first > last ? last : first; }

static INLINE void NAME(run)(const REAL *samples, const REAL *coefficients, const uint8_t *valid, int64_t bands,
                             int64_t height, int64_t width, const double *src_px, int64_t n, double reduce, int64_t left,
                             int64_t top, const REAL *table, const int64_t taps, int64_t cells, REAL *out, uint8_t *known)
{
    const int64_t plane = height * width;
    for (int64_t k = 0; k < n; k++) {
        double x = centred(src_px[k], reduce) - (double)left, y = centred(src_px[n + k], reduce) - (double)top;
        if (!(x >= -0.5 && y >= -0.5 && x < (double)width - 0.5 && y < (double)height - 0.5)) {
            for (int64_t band = 0; band < bands; band++)
                out[band * n + k] = 0, known[band * n + k] = 0;
            continue;
        }
        const int64_t floor_x = (int64_t)(x + 1) - 1, floor_y = (int64_t)(y + 1) - 1; /* neither is below -1 */
        const int64_t nearest = (int64_t)(y + 0.5) * width + (int64_t)(x + 0.5);
        if (x == (double)floor_x && y == (double)floor_y) {
            for (int64_t band = 0; band < bands; band++) {
                out[band * n + k] = samples[band * plane + nearest];
                known[band * n + k] = valid[band * plane + nearest];
            }
            continue;
        }
        const int64_t col = NAME(inside)(floor_x - taps / 2 + 1, width - taps);
        const int64_t row = NAME(inside)(floor_y - taps / 2 + 1, height - taps);
        REAL across[MAX_TAPS], down[MAX_TAPS];
        NAME(weights)(table, taps, cells, x - (double)floor_x, across);
        NAME(weights)(table, taps, cells, y - (double)floor_y, down);
        for (int64_t band = 0; band < bands; band++) {
            const REAL *corner = coefficients + band * plane + row * width + col;
            const REAL middle = corner[(taps / 2) * (width + 1)]; /* what is constant stays so to the last bit */
            REAL column[MAX_TAPS], sum = 0;
            for (int64_t i = 0; i < taps; i++)
                column[i] = down[0] * (corner[i] - middle);
            for (int64_t j = 1; j < taps; j++)
                for (int64_t i = 0; i < taps; i++)
                    column[i] += down[j] * (corner[j * width + i] - middle);
            for (int64_t i = 0; i < taps; i++)
                sum += across[i] * column[i];
            out[band * n + k] = middle + sum;
            known[band * n + k] = valid[band * plane + nearest];
        }
    }
}

EXPORT int NAME(georeg_resample)(const REAL *samples, const REAL *coefficients, const uint8_t *valid, int64_t bands,
                                 int64_t height, int64_t width, const double *src_px, int64_t n, double reduce,
                                 int64_t left, int64_t top, const REAL *table, int64_t taps, int64_t cells, REAL *out,
                                 uint8_t *known)
{
    switch (taps) { /* known to the compiler, each is unrolled */
#define CASE(number) \
    case number: \
        NAME(run)(samples, coefficients, valid, bands, height, width, src_px, n, reduce, left, top, table, number, cells, \
                  out, known); \
        return 0;
        CASE(2)
        CASE(4)
        CASE(6)
#undef CASE
    }
    return -1;
}

/* Symmetric taps (the middle first), whose sum is 1, along rows, then along columns; beyond the image its last pixel goes on.
   Differences are added up, so that what is constant stays so. */
EXPORT int NAME(georeg_filter)(const REAL *image, int64_t height, int64_t width, const REAL *taps, int64_t radius, REAL *out)
{
    REAL *padded = malloc((size_t)(width + 2 * radius) * sizeof *padded);
    REAL *rows = malloc((size_t)(height * width) * sizeof *rows);
    if (!padded || !rows) {
        free(padded), free(rows);
        return -1;
    }
    for (int64_t row = 0; row < height; row++) {
        const REAL *restrict from = image + row * width;
        REAL *restrict to = rows + row * width;
        for (int64_t col = 0; col < width + 2 * radius; col++)
            padded[col] = from[NAME(inside)(col - radius, width - 1)];
        const REAL *restrict middle = padded + radius;
        for (int64_t col = 0; col < width; col++)
            to[col] = middle[col];
        for (int64_t k = 1; k <= radius; k++)
            for (int64_t col = 0; col < width; col++)
                to[col] += taps[k] * ((middle[col - k] - middle[col]) + (middle[col + k] - middle[col]));
    }
    for (int64_t row = 0; row < height; row++) {
        const REAL *restrict middle = rows + row * width;
        REAL *restrict to = out + row * width;
        for (int64_t col = 0; col < width; col++)
            to[col] = middle[col];
        for (int64_t k = 1; k <= radius; k++) {
            const REAL *above = rows + NAME(inside)(row - k, height - 1) * width;
            const REAL *below = rows + NAME(inside)(row + k, height - 1) * width;
            for (int64_t col = 0; col < width; col++)
                to[col] += taps[k] * ((above[col] - middle[col]) + (below[col] - middle[col]));
        }
    }
    free(padded), free(rows);
    return 0;
}

#endif
