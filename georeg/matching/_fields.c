/* What the matchers see of an image: what georeg/matching/fields.py and `move_to_texture` do in OpenCV, in one call each.

   Every row of a filter is first summed down its columns and then along itself, in float and always in the same order, so
   that no byte depends on the processor. A plane is an image with a margin around each row for that. */

#include "_common.h"

enum { SHARPEN = 8, DETAIL = 2, EDGE = 3, MARGIN = 8, CELL = 4, FEW = 100 };

/* The numbers of georeg/matching/fields.py; of symmetrical filters the taps from the middle one on. */
typedef struct {
    float sharpen[SHARPEN + 1], detail[DETAIL + 1], edge[EDGE + 1];
    double flat, far, faint;
} Settings;

typedef struct {
    ptrdiff_t height, width, pitch;
    const uint8_t *known, *inner;
    float *line, *plane;
    int32_t *keys;
} Work;

INLINE float *row_of(const Work *w, ptrdiff_t y) { return w->plane + y * w->pitch + MARGIN; }

/* The pixel that stands for one beyond the border: with the border's own pixel once more (twice = 1) or not (0). */
INLINE ptrdiff_t mirrored(ptrdiff_t at, ptrdiff_t n, int twice)
{
    if (n == 1)
        return 0;
    while (at < 0 || at >= n)
        at = at < 0 ? -at - twice : 2 * (n - 1) + twice - at;
    return at;
}

INLINE void extend(float *line, ptrdiff_t n, ptrdiff_t reach, int twice)
{
    for (ptrdiff_t k = 1; k <= reach; k++) {
        line[-k] = line[mirrored(-k, n, twice)];
        line[n - 1 + k] = line[mirrored(n - 1 + k, n, twice)];
    }
}

/* Row y of a symmetrical filter's sums down the columns of an image whose rows are `pitch` apart, extended. */
INLINE void down(const Work *w, const float *image, ptrdiff_t pitch, ptrdiff_t y, const float *taps, ptrdiff_t reach,
                 int twice)
{
    const float *above[SHARPEN + 1], *below[SHARPEN + 1];
    for (ptrdiff_t k = 0; k <= reach; k++) {
        above[k] = image + mirrored(y - k, w->height, twice) * pitch;
        below[k] = image + mirrored(y + k, w->height, twice) * pitch;
    }
    float *line = w->line;
    COLUMNS
    for (ptrdiff_t x = 0; x < w->width; x++) {
        float sum = taps[0] * above[0][x];
        for (ptrdiff_t k = 1; k <= reach; k++)
            sum += taps[k] * (above[k][x] + below[k][x]);
        line[x] = sum;
    }
    extend(line, w->width, reach, twice);
}

/* The sum of that along the row at one pixel. */
INLINE float along(const float *at, const float *taps, ptrdiff_t reach)
{
    float sum = taps[0] * at[0];
    for (ptrdiff_t k = 1; k <= reach; k++)
        sum += taps[k] * (at[-k] + at[k]);
    return sum;
}

/* ---- brightness ---- */

/* Bits of every sixteenth pixel that is seen, or of all where that leaves few; how many. */
INLINE ptrdiff_t some(const Work *w, const float *image, const uint8_t *seen, int32_t *keys)
{
    for (ptrdiff_t step = CELL;; step = 1) {
        ptrdiff_t n = 0;
        for (ptrdiff_t y = 0; y < w->height; y += step)
            for (ptrdiff_t x = 0; x < w->width; x += step)
                if (seen[y * w->width + x])
                    memcpy(keys + n++, image + y * w->width + x, sizeof *keys);
        if (n >= FEW || step == 1)
            return n;
    }
}

INLINE float value(const int32_t *keys, ptrdiff_t i)
{
    float one;
    memcpy(&one, keys + i, sizeof one);
    return one;
}

INLINE double deviation(const int32_t *keys, ptrdiff_t n, double *largest)
{
    double sum = 0, squares = 0;
    *largest = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double one = value(keys, i);
        sum += one;
        *largest = fabs(one) > *largest ? fabs(one) : *largest;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double off = value(keys, i) - sum / (double)n;
        squares += off * off;
    }
    return n ? sqrt(squares / (double)n) : 0;
}

INLINE void standardise(const Work *w, const Settings *set, const float *image, float *bright)
{
    const ptrdiff_t pixels = w->height * w->width;
    ptrdiff_t n = some(w, image, w->known, w->keys);
    double largest, unused, spread = deviation(w->keys, n, &largest);
    if (spread == 0) {
        ptrdiff_t all = 0;
        for (ptrdiff_t i = 0; i < pixels; i++)
            if (w->known[i])
                memcpy(w->keys + all++, image + i, sizeof *w->keys);
        spread = deviation(w->keys, all, &unused);
        n = some(w, image, w->known, w->keys);
    }
    if (spread <= set->flat * largest) {
        memset(bright, 0, (size_t)pixels * sizeof *bright);
        return;
    }
    const double limit = set->far * spread;
    const float middle = median(w->keys, n), far = (float)(limit < 1e30 ? limit : 1e30), unit = (float)spread;
    const float low = middle - far, high = middle + far;
    COLUMNS
    for (ptrdiff_t i = 0; i < pixels; i++) {
        const float above = image[i] > low ? image[i] : low;
        bright[i] = ((above < high ? above : high) - middle) / unit;
    }
}

/* ---- detail ---- */

INLINE void find_detail(const Work *w, const Settings *set, const float *bright, float *detail)
{
    for (ptrdiff_t y = 0; y < w->height; y++) {
        float *sharp = row_of(w, y);
        down(w, bright, w->width, y, set->sharpen, SHARPEN, 0);
        COLUMNS
        for (ptrdiff_t x = 0; x < w->width; x++)
            sharp[x] = along(w->line + x, set->sharpen, SHARPEN);
    }
    for (ptrdiff_t y = 0; y < w->height; y++, detail += w->width) {
        const float *sharp = row_of(w, y);
        down(w, row_of(w, 0), w->pitch, y, set->detail, DETAIL, 1);
        COLUMNS
        for (ptrdiff_t x = 0; x < w->width; x++)
            detail[x] = sharp[x] - along(w->line + x, set->detail, DETAIL);
    }
}

/* ---- edges ---- */

typedef struct {
    const float *here, *above, *below;
} Around;

INLINE Around around(const Work *w, ptrdiff_t y)
{
    return (Around){row_of(w, y), row_of(w, mirrored(y - 1, w->height, 1)), row_of(w, mirrored(y + 1, w->height, 1))};
}

#define SLOPES(a, x) \
    const float gx = 0.5f * ((a).here[(x) + 1] - (a).here[(x) - 1]), gy = 0.5f * ((a).below[x] - (a).above[x]), \
                xx = gx * gx, yy = gy * gy

/* A share of the median squared gradient, of every sixteenth pixel that is compared, or of all where that leaves few. */
INLINE float faint(const Work *w, const Settings *set)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t step = CELL; n < FEW && step; step = step == 1 ? 0 : 1) {
        n = 0;
        for (ptrdiff_t y = 0; y < w->height; y += step) {
            const uint8_t *inner = w->inner + y * w->width;
            const Around a = around(w, y);
            for (ptrdiff_t x = 0; x < w->width; x += step)
                if (inner[x]) {
                    SLOPES(a, x);
                    const float power = xx + yy;
                    memcpy(w->keys + n++, &power, sizeof power);
                }
        }
    }
    const double typical = n ? median(w->keys, n) : 0;
    return (float)(set->faint * set->faint * typical + 1e-12);
}

/* Adds a band's edges to those before it, or begins with them; the last of several bands makes a mean of the sum. */
INLINE void add_edges(const Work *w, const Settings *set, const float *bright, ptrdiff_t band, ptrdiff_t bands,
                      float *edges)
{
    for (ptrdiff_t y = 0; y < w->height; y++) {
        float *smooth = row_of(w, y);
        down(w, bright, w->width, y, set->edge, EDGE, 1);
        COLUMNS
        for (ptrdiff_t x = 0; x < w->width; x++)
            smooth[x] = along(w->line + x, set->edge, EDGE);
        extend(smooth, w->width, 1, 1);
    }
    const float floor = faint(w, set), parts = band + 1 == bands ? (float)bands : 1;
    for (ptrdiff_t y = 0; y < w->height; y++, edges += 2 * w->width) {
        const uint8_t *inner = w->inner + y * w->width;
        const Around a = around(w, y);
        if (band == 0)
            memset(edges, 0, (size_t)(2 * w->width) * sizeof *edges);
        COLUMNS
        for (ptrdiff_t x = 0; x < w->width; x++) {
            SLOPES(a, x);
            const float weight = (float)inner[x] / ((xx + yy) + floor);
            edges[2 * x] = (edges[2 * x] + (xx - yy) * weight) / parts;
            edges[2 * x + 1] = (edges[2 * x + 1] + 2 * gx * gy * weight) / parts;
        }
    }
}

/* ---- the whole ---- */

INLINE void look(const Work *w, const Settings *set, ptrdiff_t bands, const float *image, float *detail, float *bright,
                 float *edges)
{
    const ptrdiff_t pixels = w->height * w->width;
    for (ptrdiff_t k = 0; k < bands; k++) {
        standardise(w, set, image + k * pixels, bright + k * pixels);
        find_detail(w, set, bright + k * pixels, detail + k * pixels);
        add_edges(w, set, bright + k * pixels, k, bands, edges);
    }
}

static void look_anywhere(const Work *w, const Settings *set, ptrdiff_t bands, const float *image, float *detail,
                          float *bright, float *edges)
{
    look(w, set, bands, image, detail, bright, edges);
}

WIDE static void look_wide(const Work *w, const Settings *set, ptrdiff_t bands, const float *image, float *detail,
                           float *bright, float *edges)
{
    look(w, set, bands, image, detail, bright, edges);
}

/* Makes detail, brightness (bands, height, width) and edges (height, width, 2); `known` and `inner` are 1 where a pixel is
   valid, and where its neighbours are too. 0, or -1 where there is no memory. The number in the name counts up with each
   change of what is passed, so that no library is called that was built from another state of this file. */
EXPORT int georeg_fields_v1(const Settings *set, int64_t bands, int64_t height, int64_t width, const float *image,
                            const uint8_t *known, const uint8_t *inner, float *detail, float *bright, float *edges)
{
    Work w = {.height = (ptrdiff_t)height, .width = (ptrdiff_t)width, .known = known, .inner = inner};
    w.pitch = (w.width + 2 * MARGIN + 15) / 16 * 16;
    const size_t floats = (size_t)(w.pitch * (w.height + 1)), n = floats + (size_t)(height * width);
    char *memory = malloc(n * sizeof(float) + 64);
    if (memory == NULL)
        return -1;
    w.line = aligned(memory) + MARGIN;
    w.plane = aligned(memory) + w.pitch;
    w.keys = (int32_t *)(aligned(memory) + floats);
    (is_wide() ? look_wide : look_anywhere)(&w, set, (ptrdiff_t)bands, image, detail, bright, edges);
    free(memory);
    return 0;
}

/* ---- where edges of different directions are the most ---- */

/* Sums over all cells above and to the left, for a row below the last: of cells of 4 by 4 pixels the mean amount of edges,
   and of both components of their direction. */
INLINE void sum_cells(const float *edges, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t rows,
                      ptrdiff_t cols, float *amounts, double *sums)
{
    memset(sums, 0, (size_t)(3 * (cols + 1)) * sizeof *sums);
    for (ptrdiff_t i = 0; i < rows; i++) {
        double *above = sums + 3 * i * (cols + 1), *to = above + 3 * (cols + 1), run[3] = {0, 0, 0};
        const ptrdiff_t last = CELL * (i + 1) < height ? CELL * (i + 1) : height;
        memset(amounts, 0, (size_t)(3 * width) * sizeof *amounts);
        for (ptrdiff_t y = CELL * i; y < last; y++) {
            const float *row = edges + y * width * channels;
            COLUMNS
            for (ptrdiff_t x = 0; x < width; x++) {
                const float cosine = row[x * channels], sine = row[x * channels + 1];
                amounts[x] += sqrtf(cosine * cosine + sine * sine);
                amounts[x + width] += cosine;
                amounts[x + 2 * width] += sine;
            }
        }
        to[0] = to[1] = to[2] = 0;
        for (ptrdiff_t j = 0; j < cols; j++) {
            const ptrdiff_t end = CELL * (j + 1) < width ? CELL * (j + 1) : width;
            const double pixels = (double)((last - CELL * i) * (end - CELL * j));
            for (int k = 0; k < 3; k++) {
                float sum = 0;
                for (ptrdiff_t x = CELL * j; x < end; x++)
                    sum += amounts[x + k * width];
                run[k] += sum / pixels;
                to[3 * (j + 1) + k] = above[3 * (j + 1) + k] + run[k];
            }
        }
    }
}

INLINE ptrdiff_t within(ptrdiff_t at, ptrdiff_t n) { return at < 0 ? 0 : at > n ? n : at; }

/* What edges of one direction leave of the amount of edges in the window about a cell. */
INLINE double crossing(const double *sums, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t i, ptrdiff_t j, ptrdiff_t side)
{
    const ptrdiff_t top = within(i, rows - 1) - side / 2, left = within(j, cols - 1) - side / 2;
    const double *high = sums + 3 * (cols + 1) * within(top, rows), *low = sums + 3 * (cols + 1) * within(top + side, rows);
    const ptrdiff_t from = 3 * within(left, cols), to = 3 * within(left + side, cols);
    double sum[3];
    for (int k = 0; k < 3; k++)
        sum[k] = low[to + k] - low[from + k] - high[to + k] + high[from + k];
    return sum[0] - sqrt(sum[1] * sum[1] + sum[2] * sum[2]);
}

static void sum_cells_anywhere(const float *edges, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t rows,
                               ptrdiff_t cols, float *amounts, double *sums)
{
    if (channels == 2)
        sum_cells(edges, height, width, 2, rows, cols, amounts, sums);
    else
        sum_cells(edges, height, width, channels, rows, cols, amounts, sums);
}

WIDE static void sum_cells_wide(const float *edges, ptrdiff_t height, ptrdiff_t width, ptrdiff_t channels, ptrdiff_t rows,
                                ptrdiff_t cols, float *amounts, double *sums)
{
    if (channels == 2)
        sum_cells(edges, height, width, 2, rows, cols, amounts, sums);
    else
        sum_cells(edges, height, width, channels, rows, cols, amounts, sums);
}

/* Moves n centres (column, row) by up to `reach` cells to where edges of windows of `side` cells cross most. */
EXPORT int georeg_texture_v1(const float *edges, int64_t height, int64_t width, int64_t channels, int64_t rows,
                             int64_t cols, int64_t side, int64_t reach, int64_t n, int64_t *centre_px)
{
    const size_t sums_n = (size_t)(3 * (rows + 1) * (cols + 1));
    double *sums = malloc(sums_n * sizeof(double) + (size_t)(3 * width) * sizeof(float));
    if (sums == NULL)
        return -1;
    (is_wide() ? sum_cells_wide : sum_cells_anywhere)(edges, (ptrdiff_t)height, (ptrdiff_t)width, (ptrdiff_t)channels,
                                                      (ptrdiff_t)rows, (ptrdiff_t)cols, (float *)(sums + sums_n), sums);
    for (int64_t *at = centre_px; at < centre_px + 2 * n; at += 2) {
        double most = -INFINITY;
        int64_t best[2] = {0, 0};
        for (int64_t dy = -reach; dy <= reach; dy++)
            for (int64_t dx = -reach; dx <= reach; dx++) {
                const double share = 1 - 0.1 * (double)(dx * dx + dy * dy) / (double)(2 * reach * reach);
                const double found = share * crossing(sums, (ptrdiff_t)rows, (ptrdiff_t)cols,
                                                      (ptrdiff_t)(at[1] / CELL + dy), (ptrdiff_t)(at[0] / CELL + dx),
                                                      (ptrdiff_t)side);
                if (found > most) {
                    most = found;
                    best[0] = dx, best[1] = dy;
                }
            }
        at[0] += CELL * best[0], at[1] += CELL * best[1];
    }
    free(sums);
    return 0;
}
