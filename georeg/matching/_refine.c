/* Least-squares matching of one window: what georeg/matching/refine.py does in NumPy, step by step, in one call.

   Pixels are float, and sums over them run down columns in float and from there in double. Nothing is kept between
   calls, so that any number of threads may run them and find the same bytes. Planes are (side + 10, pitch) pixels. */

#include "_common.h"

enum { HALO = 5, MARGIN = 2, REACH = 4, BLOCKS = 8, TONES = 3, DESIGN = 2 + TONES, PLANES = 15, SUMS = 22 };

typedef struct {
    double rounds, settled_px, stray_px, white, optimism, floor;
} Settings;

/* One image, and the first pixel of its window. */
typedef struct {
    const float *const *detail;
    const float *const *brightness;
    const float *edges;
    const uint8_t *valid;
    int64_t width, col, row;
} Image;

typedef struct {
    double shift_px[2], cov_px[2][2], centre_px[2], disagreement;
} Refined;

/* One Gauss-Newton step and what its covariance is made of. */
typedef struct {
    double normal[2][2], rhs[2], move_px[2], scores[2][BLOCKS * BLOCKS], residual2, place[3];
} Step;

typedef struct {
    const Image *ref, *tgt;
    ptrdiff_t side, pitch, bands, valid_n;
    float floor;
    float *mask, *share;                /* 1 where valid; one over the share of each neighbourhood that is */
    float *ref_edges[2], *tgt_edges[2]; /* windows with a halo of five pixels */
    float *f, *g, *h, *k;               /* windows with a margin of two pixels */
    float *a, *b, *c;                   /* whatever is at hand */
    float *agreement, *variance;        /* of each pixel's neighbourhood */
    float *lines, *sums;
    int32_t *keys;
} Work;

INLINE double least(double a, double b) { return a < b ? a : b; }
INLINE double most(double a, double b) { return a > b ? a : b; }
INLINE double largest(const double at[2]) { return most(fabs(at[0]), fabs(at[1])); }
INLINE ptrdiff_t block_of(const Work *w) { return w->side / BLOCKS; }
INLINE float *inner(const Work *w, float *plane, ptrdiff_t y) { return plane + (y + MARGIN) * w->pitch + MARGIN; }

/* ---- reading through a quintic B-spline ---- */

INLINE double spline(double at)
{
    const double u = fabs(at);
    if (u >= 3)
        return 0;
    if (u >= 2)
        return pow(3 - u, 5) / 120;
    if (u >= 1)
        return (51 + u * (75 + u * (-210 + u * (150 + u * (-45 + 5 * u))))) / 120;
    return (66 + u * u * (-60 + u * u * (30 - 10 * u))) / 120;
}

INLINE void make_taps(double move_px, float taps[7])
{
    const double move = least(most(move_px, -0.5), 0.5);
    for (int k = 0; k < 7; k++)
        taps[k] = (float)spline(k - 3 - move);
}

/* Seven pixels, `step` apart, weighted. */
INLINE void filter(const float *in, ptrdiff_t step, const float t[7], ptrdiff_t n, float *out)
{
    COLUMNS
    for (ptrdiff_t x = 0; x < n; x++)
        out[x] = t[0] * in[x] + t[1] * in[x + step] + t[2] * in[x + 2 * step] + t[3] * in[x + 3 * step] +
                 t[4] * in[x + 4 * step] + t[5] * in[x + 5 * step] + t[6] * in[x + 6 * step];
}

/* The first pixel of a window's halo. */
INLINE ptrdiff_t first_of(const Image *at) { return (at->row - HALO) * at->width + at->col - HALO; }

/* A window with a margin of two pixels, read `move` further on; `in` has the pixels of its halo, rows `width` apart. */
INLINE void read_window(const Work *w, const float *in, ptrdiff_t width, double dx, double dy, float *out)
{
    const ptrdiff_t n = w->side + 2 * MARGIN;
    float across[7], down[7], *rows = w->c;
    make_taps(dx, across);
    make_taps(dy, down);
    for (ptrdiff_t y = 0; y < w->side + 2 * HALO; y++)
        filter(in + y * width, 1, across, n, rows + y * w->pitch);
    for (ptrdiff_t y = 0; y < n; y++)
        filter(rows + y * w->pitch, w->pitch, down, n, out + y * w->pitch);
}

/* The two channels that edges interleave, each in its plane. */
INLINE void split_edges(const Work *w, const Image *at, float *const planes[2])
{
    const ptrdiff_t n = w->side + 2 * HALO;
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *in = at->edges + 2 * (first_of(at) + y * at->width);
        float *one = planes[0] + y * w->pitch, *other = planes[1] + y * w->pitch;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            one[x] = in[2 * x];
            other[x] = in[2 * x + 1];
        }
    }
}

/* ---- means over neighbourhoods ---- */

INLINE ptrdiff_t reflected(ptrdiff_t y, ptrdiff_t n) { return y < 0 ? -1 - y : y >= n ? 2 * n - 1 - y : y; }

/* Row y of the means over 9 by 9 pixels, reflected at the window's border. */
INLINE void mean_row(const Work *w, const float *plane, ptrdiff_t y, float *line, float *out)
{
    const ptrdiff_t n = w->side;
    const float *r[9];
    for (int k = 0; k < 9; k++)
        r[k] = plane + reflected(y + k - REACH, n) * w->pitch;
    float *s = line + REACH;
    COLUMNS
    for (ptrdiff_t x = 0; x < n; x++)
        s[x] = ((r[0][x] + r[1][x]) + (r[2][x] + r[3][x])) + ((r[4][x] + r[5][x]) + (r[6][x] + r[7][x])) + r[8][x];
    for (int k = 0; k < REACH; k++) {
        s[-1 - k] = s[k];
        s[n + k] = s[n - 1 - k];
    }
    COLUMNS
    for (ptrdiff_t x = 0; x < n; x++)
        out[x] = (((line[x] + line[x + 1]) + (line[x + 2] + line[x + 3])) +
                  ((line[x + 4] + line[x + 5]) + (line[x + 6] + line[x + 7])) + line[x + 8]) * (1.0f / 81);
}

/* The same over valid pixels; those that are not must be 0. */
INLINE void local_row(const Work *w, const float *plane, ptrdiff_t y, float *out)
{
    const float *share = w->share + y * w->pitch;
    mean_row(w, plane, y, w->lines, out);
    COLUMNS
    for (ptrdiff_t x = 0; x < w->side; x++)
        out[x] *= share[x];
}

/* ---- what is small beside the typical variance ---- */

/* A share of the median variance: of every third pixel each way, or of the valid ones where some are not. */
INLINE float variance_floor(const Work *w)
{
    ptrdiff_t n = 0;
    const int all = w->valid_n == w->side * w->side;
    for (ptrdiff_t y = 0; y < w->side; y += all ? 3 : 1) {
        const float *row = w->variance + y * w->pitch, *mask = w->mask + y * w->pitch;
        for (ptrdiff_t x = 0; x < w->side; x += all ? 3 : 1) {
            memcpy(w->keys + n, row + x, sizeof *row);
            n += mask[x] > 0;
        }
    }
    return w->floor * median(w->keys, n) + 1e-20f;
}

/* ---- small systems of equations ---- */

/* Solves for two right-hand sides; anything where the matrix is singular. */
INLINE void solve3(double matrix[3][3], double rhs[3][2])
{
    for (int k = 0; k < 3; k++) {
        int pivot = k;
        for (int i = k + 1; i < 3; i++)
            pivot = fabs(matrix[i][k]) > fabs(matrix[pivot][k]) ? i : pivot;
        for (int j = 0; j < 3; j++) {
            const double other = matrix[k][j];
            matrix[k][j] = matrix[pivot][j];
            matrix[pivot][j] = other;
        }
        for (int j = 0; j < 2; j++) {
            const double other = rhs[k][j];
            rhs[k][j] = rhs[pivot][j];
            rhs[pivot][j] = other;
        }
        for (int i = k + 1; i < 3; i++) {
            const double part = matrix[i][k] / matrix[k][k];
            for (int j = k; j < 3; j++)
                matrix[i][j] -= part * matrix[k][j];
            for (int j = 0; j < 2; j++)
                rhs[i][j] -= part * rhs[k][j];
        }
    }
    for (int k = 2; k >= 0; k--)
        for (int j = 0; j < 2; j++) {
            for (int i = k + 1; i < 3; i++)
                rhs[k][j] -= matrix[k][i] * rhs[i][j];
            rhs[k][j] /= matrix[k][k];
        }
}

INLINE double total(const float *values, ptrdiff_t n)
{
    double sum[4] = {0, 0, 0, 0};
    for (ptrdiff_t i = 0; i + 3 < n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += values[i + k];
    for (ptrdiff_t i = n - n % 4; i < n; i++)
        sum[0] += values[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Adds column sums, block by block, and clears them. */
INLINE void flush(const Work *w, float *columns, double *blocks)
{
    for (ptrdiff_t k = 0; k < BLOCKS; k++)
        blocks[k] += total(columns + k * block_of(w), block_of(w));
    memset(columns, 0, (size_t)w->side * sizeof *columns);
}

/* ---- one step on intensities ---- */

/* Local correlation of two windows, and the variance of the second that it leaves unexplained. */
INLINE void agree(const Work *w, float *f, float *g)
{
    const ptrdiff_t n = w->side;
    float *ff = w->a, *gg = w->b, *fg = w->c;
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *fi = inner(w, f, y), *gi = inner(w, g, y), *mask = w->mask + y * w->pitch;
        float *ffy = ff + y * w->pitch, *ggy = gg + y * w->pitch, *fgy = fg + y * w->pitch;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            ffy[x] = fi[x] * fi[x] * mask[x];
            ggy[x] = gi[x] * gi[x] * mask[x];
            fgy[x] = fi[x] * gi[x] * mask[x];
        }
    }
    float *lf = w->lines + w->pitch, *lg = lf + w->pitch;
    for (ptrdiff_t y = 0; y < n; y++) {
        float *agreement = w->agreement + y * w->pitch, *variance = w->variance + y * w->pitch;
        local_row(w, ff, y, lf);
        local_row(w, gg, y, lg);
        local_row(w, fg, y, agreement);
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            const float fs = lf[x] + 1e-12f, gs = lg[x] + 1e-12f;
            const float r = agreement[x] / sqrtf(fs * gs);
            agreement[x] = r;
            variance[x] = gs * (1 - r * r);
        }
    }
}

/* Contrast, its bend with brightness and a level: what makes one window of the other. */
INLINE void solve_tones(const Work *w, float *f, float *g, float *bright, float tone[TONES])
{
    const ptrdiff_t n = w->side, p = w->pitch;
    const float floor = variance_floor(w);
    float *s = w->sums;
    memset(s, 0, (size_t)(9 * p) * sizeof *s);
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *fi = inner(w, f, y), *gi = inner(w, g, y), *bi = inner(w, bright, y), *mask = w->mask + y * p;
        const float *agreement = w->agreement + y * p, *variance = w->variance + y * p;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            const float weight = agreement[x] * agreement[x] / (variance[x] + floor) * mask[x];
            const float bend = fi[x] * bi[x], wf = weight * fi[x], wb = weight * bend;
            s[x] += wf * fi[x];
            s[x + p] += wf * bend;
            s[x + 2 * p] += wf;
            s[x + 3 * p] += wb * bend;
            s[x + 4 * p] += wb;
            s[x + 5 * p] += weight;
            s[x + 6 * p] += wf * gi[x];
            s[x + 7 * p] += wb * gi[x];
            s[x + 8 * p] += weight * gi[x];
        }
    }
    double t[9];
    for (int k = 0; k < 9; k++)
        t[k] = total(s + k * p, n);
    const double ridge = 1e-6 * (t[0] + t[3] + t[5]) + 1e-30;
    double matrix[3][3] = {{t[0] + ridge, t[1], t[2]}, {t[1], t[3] + ridge, t[4]}, {t[2], t[4], t[5] + ridge}};
    double rhs[3][2] = {{t[6], 0}, {t[7], 0}, {t[8], 0}};
    solve3(matrix, rhs);
    for (int k = 0; k < TONES; k++)
        tone[k] = (float)rhs[k][0];
}

/* The mean of both windows, margins included, in the second. */
INLINE void blend(const Work *w, const float *f, float contrast, float *g)
{
    const ptrdiff_t n = w->side + 2 * MARGIN;
    for (ptrdiff_t y = 0; y < n; y++, f += w->pitch, g += w->pitch) {
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++)
            g[x] = 0.5f * (g[x] + contrast * f[x]);
    }
}

/* The difference in a, the mean of both windows in g, agreement and variance under these tones. */
INLINE void subtract(const Work *w, float *f, float *g, float *bright, const float tone[TONES])
{
    const ptrdiff_t n = w->side, p = w->pitch;
    const float contrast = tone[0], bend = tone[1], level = tone[2];
    const float sign = (float)((contrast > 0) - (contrast < 0));
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *fi = inner(w, f, y), *gi = inner(w, g, y), *bi = inner(w, bright, y), *mask = w->mask + y * p;
        float *difference = w->a + y * p, *squared = w->b + y * p, *agreement = w->agreement + y * p;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            const float d = gi[x] - (contrast * fi[x] + bend * (fi[x] * bi[x]) + level), r = agreement[x] * sign;
            difference[x] = d;
            squared[x] = d * d * mask[x];
            agreement[x] = r > 0 ? r : 0;
        }
    }
    for (ptrdiff_t y = 0; y < n; y++)
        local_row(w, w->b, y, w->variance + y * p);
    blend(w, f, contrast, g);
}

#define SLOPE(at, step) \
    (((at)[-2 * (step)] - (at)[2 * (step)] + 8.0f * ((at)[step] - (at)[-(step)])) * (1.0f / 12))

/* Adds a band's normal equations, of which the tones are eliminated. */
INLINE void add_intensities(const Work *w, float *f, float *mean, float *bright, Step *step)
{
    const ptrdiff_t n = w->side, p = w->pitch;
    const float floor = variance_floor(w);
    float *s = w->sums, *e = s + 17 * p;
    double scores[DESIGN][BLOCKS * BLOCKS];
    memset(scores, 0, sizeof scores);
    memset(s, 0, (size_t)(SUMS * p) * sizeof *s);
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *fi = inner(w, f, y), *bi = inner(w, bright, y), *m = inner(w, mean, y), *mask = w->mask + y * p;
        const float *agreement = w->agreement + y * p, *variance = w->variance + y * p, *difference = w->a + y * p;
        const float at = (float)y + 0.5f;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            const float weight = agreement[x] * agreement[x] / (variance[x] + floor) * mask[x];
            const float gx = SLOPE(m + x, 1), gy = SLOPE(m + x, p), bend = fi[x] * bi[x], d = difference[x];
            const float wx = weight * gx, wy = weight * gy, wf = weight * fi[x], wb = weight * bend, wd = weight * d;
            const float xx = wx * gx, yy = wy * gy;
            s[x] += xx;
            s[x + p] += wx * gy;
            s[x + 2 * p] += wx * fi[x];
            s[x + 3 * p] += wx * bend;
            s[x + 4 * p] += wx;
            s[x + 5 * p] += yy;
            s[x + 6 * p] += wy * fi[x];
            s[x + 7 * p] += wy * bend;
            s[x + 8 * p] += wy;
            s[x + 9 * p] += wf * fi[x];
            s[x + 10 * p] += wf * bend;
            s[x + 11 * p] += wf;
            s[x + 12 * p] += wb * bend;
            s[x + 13 * p] += wb;
            s[x + 14 * p] += weight;
            s[x + 15 * p] += wd * d;
            s[x + 16 * p] += (xx + yy) * at;
            e[x] += wd * gx;
            e[x + p] += wd * gy;
            e[x + 2 * p] += wd * fi[x];
            e[x + 3 * p] += wd * bend;
            e[x + 4 * p] += wd;
        }
        if ((y + 1) % block_of(w) == 0)
            for (int k = 0; k < DESIGN; k++)
                flush(w, e + k * p, scores[k] + y / block_of(w) * BLOCKS);
    }
    double normal[DESIGN][DESIGN];
    for (int i = 0, k = 0; i < DESIGN; i++)
        for (int j = i; j < DESIGN; j++, k++)
            normal[i][j] = normal[j][i] = total(s + k * p, n);
    for (ptrdiff_t x = 0; x < n; x++)
        step->place[0] += ((double)s[x] + s[x + 5 * p]) * ((double)x + 0.5);
    step->place[1] += total(s + 16 * p, n);
    step->place[2] += normal[0][0] + normal[1][1];
    step->residual2 += total(s + 15 * p, n) / most(normal[4][4], 1e-30) / (double)w->bands;

    double among[TONES][TONES], share[TONES][2];
    for (int i = 0; i < TONES; i++) {
        for (int j = 0; j < TONES; j++)
            among[i][j] = normal[2 + i][2 + j] + (i == j ? 1e-6 * normal[2 + i][2 + i] + 1e-30 : 0);
        for (int j = 0; j < 2; j++)
            share[i][j] = normal[2 + i][j];
    }
    solve3(among, share);
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            step->normal[i][j] += normal[i][j];
            for (int k = 0; k < TONES; k++)
                step->normal[i][j] -= normal[i][2 + k] * share[k][j];
        }
        for (int b = 0; b < BLOCKS * BLOCKS; b++) {
            double score = scores[i][b];
            for (int k = 0; k < TONES; k++)
                score -= share[k][i] * scores[2 + k][b];
            step->scores[i][b] += score;
            step->rhs[i] -= score;
        }
    }
}

/* The step of the equations that were added; 0 where nothing holds the window. */
INLINE int solve_step(Step *s)
{
    const double xx = s->normal[0][0], xy = s->normal[0][1], yx = s->normal[1][0], yy = s->normal[1][1];
    const double det = xx * yy - xy * yx, high = most(most(fabs(xx), fabs(yy)), most(fabs(xy), fabs(yx)));
    if (!isfinite(xx + xy + yx + yy) || !(det > 1e-9 * high * high) || !(s->place[2] > 0))
        return 0;
    s->move_px[0] = (yy * s->rhs[0] - xy * s->rhs[1]) / det;
    s->move_px[1] = (xx * s->rhs[1] - yx * s->rhs[0]) / det;
    return 1;
}

INLINE int compare(const Work *w, int detail, const double shift_px[2], Step *step)
{
    const double dx = shift_px[0] / 2, dy = shift_px[1] / 2;
    memset(step, 0, sizeof *step);
    for (ptrdiff_t k = 0; k < w->bands; k++) {
        float tone[TONES], *bright = detail ? w->h : w->f;
        const float *f = (detail ? w->ref->detail[k] : w->ref->brightness[k]) + first_of(w->ref);
        const float *g = (detail ? w->tgt->detail[k] : w->tgt->brightness[k]) + first_of(w->tgt);
        read_window(w, f, w->ref->width, -dx, -dy, w->f);
        read_window(w, g, w->tgt->width, dx, dy, w->g);
        if (detail)
            read_window(w, w->ref->brightness[k] + first_of(w->ref), w->ref->width, -dx, -dy, w->h);
        agree(w, w->f, w->g);
        solve_tones(w, w->f, w->g, bright, tone);
        subtract(w, w->f, w->g, bright, tone);
        add_intensities(w, w->f, w->g, bright, step);
    }
    return solve_step(step);
}

/* Steps on detail until they are small, then on brightness if its difference is about as white as noise. */
INLINE int descend(const Work *w, const Settings *set, double shift_px[2], Step *step)
{
    for (int detail = 1; detail >= 0; detail--) {
        const double from[2] = {shift_px[0], shift_px[1]};
        for (int round = 0; round < (int)set->rounds; round++) {
            Step next;
            const int held = compare(w, detail, shift_px, &next);
            if (!detail && round == 0 && (!held || !(next.residual2 <= set->white * step->residual2)))
                return 1;
            if (!held)
                return 0;
            *step = next;
            const double share = least(1, 0.5 / most(largest(next.move_px), 1e-9));
            const double move[2] = {share * next.move_px[0], share * next.move_px[1]};
            for (int k = 0; k < 2; k++)
                shift_px[k] += move[k];
            const double away[2] = {shift_px[0] - from[0], shift_px[1] - from[1]};
            if (!(largest(away) <= set->stray_px))
                return 0;
            if (largest(move) < set->settled_px)
                break;
        }
    }
    return 1;
}

/* ---- one step on the two components of the edges' orientation ---- */

INLINE void add_edges(const Work *w, float *const means[2], float *const differences[2], Step *step)
{
    const ptrdiff_t n = w->side, p = w->pitch;
    const float floor = variance_floor(w);
    float *s = w->sums, *e = s + 4 * p;
    memset(s, 0, (size_t)(6 * p) * sizeof *s);
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *m0 = inner(w, means[0], y), *m1 = inner(w, means[1], y), *mask = w->mask + y * p;
        const float *d0 = differences[0] + y * p, *d1 = differences[1] + y * p;
        const float *agreement = w->agreement + y * p, *variance = w->variance + y * p;
        const float at = (float)y + 0.5f;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            const float r = agreement[x] > 0 ? agreement[x] : 0;
            const float weight = r * r / (variance[x] + floor) * mask[x];
            const float x0 = SLOPE(m0 + x, 1), y0 = SLOPE(m0 + x, p), x1 = SLOPE(m1 + x, 1), y1 = SLOPE(m1 + x, p);
            const float xx = weight * (x0 * x0 + x1 * x1), yy = weight * (y0 * y0 + y1 * y1);
            s[x] += xx;
            s[x + p] += weight * (x0 * y0 + x1 * y1);
            s[x + 2 * p] += yy;
            s[x + 3 * p] += (xx + yy) * at;
            e[x] += weight * (x0 * d0[x] + x1 * d1[x]);
            e[x + p] += weight * (y0 * d0[x] + y1 * d1[x]);
        }
        if ((y + 1) % block_of(w) == 0)
            for (int k = 0; k < 2; k++)
                flush(w, e + k * p, step->scores[k] + y / block_of(w) * BLOCKS);
    }
    step->normal[0][0] = total(s, n);
    step->normal[0][1] = step->normal[1][0] = total(s + p, n);
    step->normal[1][1] = total(s + 2 * p, n);
    step->place[2] = step->normal[0][0] + step->normal[1][1];
    for (int k = 0; k < 2; k++)
        for (int b = 0; b < BLOCKS * BLOCKS; b++)
            step->rhs[k] -= step->scores[k][b];
}

INLINE int compare_edges(const Work *w, const double shift_px[2], Step *step)
{
    const ptrdiff_t n = w->side, p = w->pitch;
    float *const f[2] = {w->f, w->h}, *const g[2] = {w->g, w->k}, *const d[2] = {w->a, w->c};
    memset(step, 0, sizeof *step);
    for (int k = 0; k < 2; k++) {
        read_window(w, w->ref_edges[k], w->pitch, -shift_px[0] / 2, -shift_px[1] / 2, f[k]);
        read_window(w, w->tgt_edges[k], w->pitch, shift_px[0] / 2, shift_px[1] / 2, g[k]);
    }
    /* the product in b, which is free again once agreement is made of it */
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *f0 = inner(w, f[0], y), *f1 = inner(w, f[1], y), *mask = w->mask + y * p;
        const float *g0 = inner(w, g[0], y), *g1 = inner(w, g[1], y);
        float *d0 = d[0] + y * p, *d1 = d[1] + y * p, *product = w->b + y * p;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++) {
            product[x] = (f0[x] * g0[x] + f1[x] * g1[x]) * mask[x];
            d0[x] = g0[x] - f0[x];
            d1[x] = g1[x] - f1[x];
        }
    }
    for (ptrdiff_t y = 0; y < n; y++)
        local_row(w, w->b, y, w->agreement + y * p);
    for (ptrdiff_t y = 0; y < n; y++) {
        const float *d0 = d[0] + y * p, *d1 = d[1] + y * p, *mask = w->mask + y * p;
        float *squared = w->b + y * p;
        COLUMNS
        for (ptrdiff_t x = 0; x < n; x++)
            squared[x] = (d0[x] * d0[x] + d1[x] * d1[x]) * mask[x];
    }
    for (ptrdiff_t y = 0; y < n; y++)
        local_row(w, w->b, y, w->variance + y * p);
    for (int k = 0; k < 2; k++)
        blend(w, f[k], 1, g[k]);
    add_edges(w, g, d, step);
    return solve_step(step);
}

/* Where edges alone would put the window; 0 where they do not hold it. */
INLINE int descend_edges(const Work *w, double shift_px[2], Step *step)
{
    split_edges(w, w->ref, w->ref_edges);
    split_edges(w, w->tgt, w->tgt_edges);
    for (int round = 0; round < 2; round++) {
        if (!compare_edges(w, shift_px, step))
            return 0;
        for (int k = 0; k < 2; k++)
            shift_px[k] += least(most(step->move_px[k], -0.5), 0.5);
    }
    return 1;
}

/* ---- the whole ---- */

/* Sandwich over blocks of pixels, whose residuals may depend on each other. */
INLINE void covariance(const Step *step, double optimism, double cov_px[2][2])
{
    const double(*n)[2] = step->normal;
    const double det = n[0][0] * n[1][1] - n[0][1] * n[1][0];
    const double bread[2][2] = {{n[1][1] / det, -n[0][1] / det}, {-n[1][0] / det, n[0][0] / det}};
    double xx = 0, xy = 0, yy = 0;
    for (int b = 0; b < BLOCKS * BLOCKS; b++) {
        const double x = bread[0][0] * step->scores[0][b] + bread[0][1] * step->scores[1][b];
        const double y = bread[1][0] * step->scores[0][b] + bread[1][1] * step->scores[1][b];
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    cov_px[0][0] = optimism * optimism * xx;
    cov_px[0][1] = cov_px[1][0] = optimism * optimism * xy;
    cov_px[1][1] = optimism * optimism * yy;
}

INLINE int refine_window(const Work *w, const Settings *set, const double start_px[2], Refined *found)
{
    Step step = {.residual2 = 0}, second;
    double shift[2] = {start_px[0], start_px[1]}, cov[2][2];
    if (!descend(w, set, shift, &step))
        return 0;
    double difference[2] = {shift[0] - start_px[0], shift[1] - start_px[1]};
    if (!(largest(difference) <= set->stray_px))
        return 0;
    double other[2] = {shift[0], shift[1]};
    if (!descend_edges(w, other, &second))
        return 0;
    covariance(&step, set->optimism, found->cov_px);
    covariance(&second, set->optimism, cov);
    const int64_t corner[2] = {w->ref->col, w->ref->row};
    for (int i = 0; i < 2; i++) {
        found->shift_px[i] = shift[i];
        found->centre_px[i] = (double)corner[i] + step.place[i] / step.place[2] - shift[i] / 2;
        difference[i] = other[i] - shift[i];
        for (int j = 0; j < 2; j++)
            cov[i][j] += found->cov_px[i][j];
    }
    const double det = cov[0][0] * cov[1][1] - cov[0][1] * cov[1][0], x = difference[0], y = difference[1];
    found->disagreement = (x * x * cov[1][1] - 2 * x * y * cov[0][1] + y * y * cov[0][0]) / det;
    return 1;
}

/* Which pixels can be compared, and what share of each neighbourhood. */
INLINE void make_mask(Work *w)
{
    const ptrdiff_t n = w->side, p = w->pitch;
    w->valid_n = 0;
    for (ptrdiff_t y = 0; y < n; y++) {
        const uint8_t *seen_ref = w->ref->valid + (w->ref->row + y) * w->ref->width + w->ref->col;
        const uint8_t *seen_tgt = w->tgt->valid + (w->tgt->row + y) * w->tgt->width + w->tgt->col;
        for (ptrdiff_t x = 0; x < n; x++) {
            const int both = seen_ref[x] & seen_tgt[x];
            w->mask[y * p + x] = (float)both;
            w->share[y * p + x] = 1;
            w->valid_n += both;
        }
    }
    if (w->valid_n < n * n)
        for (ptrdiff_t y = 0; y < n; y++) {
            float *share = w->share + y * p;
            mean_row(w, w->mask, y, w->lines, share);
            COLUMNS
            for (ptrdiff_t x = 0; x < n; x++)
                share[x] = 1 / (share[x] > 1e-3f ? share[x] : 1e-3f);
        }
}

INLINE int match(Work *w, const Settings *set, const double *start_px, Refined *found)
{
    make_mask(w);
    return w->valid_n > 0 && refine_window(w, set, start_px, found);
}

static int match_anywhere(Work *w, const Settings *set, const double *start_px, Refined *found)
{
    return match(w, set, start_px, found);
}

WIDE static int match_wide(Work *w, const Settings *set, const double *start_px, Refined *found)
{
    return match(w, set, start_px, found);
}

/* 1 where the window is found, 0 where it is not, -1 where there is no memory. The number in the name counts up with
   each change of what is passed, so that no library is called that was built from another state of this file. */
EXPORT int georeg_refine_v1(const Settings *set, int64_t bands, int64_t side, const Image *ref, const Image *tgt,
                            const double *start_px, Refined *found)
{
    const ptrdiff_t pitch = (ptrdiff_t)side + 16, plane = ((ptrdiff_t)side + 2 * HALO) * pitch, lines = 3 * pitch;
    const size_t n = (size_t)(PLANES * plane + lines + SUMS * pitch + side * side);
    char *memory = malloc(n * sizeof(float) + 64);
    if (memory == NULL)
        return -1;
    float *next = aligned(memory);
    Work w = {.ref = ref, .tgt = tgt, .side = (ptrdiff_t)side, .pitch = pitch, .bands = (ptrdiff_t)bands};
    w.floor = (float)set->floor;
    float **planes[PLANES] = {&w.ref_edges[0], &w.ref_edges[1], &w.tgt_edges[0], &w.tgt_edges[1], &w.mask, &w.share,
                              &w.f, &w.g, &w.h, &w.k, &w.a, &w.b, &w.c, &w.agreement, &w.variance};
    for (int k = 0; k < PLANES; k++, next += plane)
        *planes[k] = next;
    w.lines = next;
    w.sums = next + lines;
    w.keys = (int32_t *)(w.sums + SUMS * pitch);
    const int status = (is_wide() ? match_wide : match_anywhere)(&w, set, start_px, found);
    free(memory);
    return status;
}
