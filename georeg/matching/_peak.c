/* The best shift of a window, read from its correlation with the ground: what georeg/matching/structure.py does in NumPy. */

#include "_common.h"

/* The numbers of georeg/matching/structure.py. */
typedef struct {
    double peak_px, rival, ridge_px, min_overlap;
} Settings;

/* Edges of a square of `side` pixels, rows `pitch` floats apart. */
typedef struct {
    const float *edges;
    int64_t side, pitch;
} Part;

/* In pixels as compared; the ridge's covariance as xx, xy, yy. */
typedef struct {
    double shift_px[2], score, overlap, ridge_px[3], ambiguous, inside;
} Peak;

/* Adds a row's squared length of the edges to column sums, or takes it away. */
INLINE void add_energy(const Part *part, ptrdiff_t channels, ptrdiff_t y, double sign, double *columns)
{
    const float *row = part->edges + y * part->pitch;
    for (ptrdiff_t x = 0; x < part->side; x++) {
        float sum = 0;
        for (ptrdiff_t k = 0; k < channels; k++)
            sum += row[x * channels + k] * row[x * channels + k];
        columns[x] += sign * (double)sum;
    }
}

INLINE double total_energy(const Part *part, ptrdiff_t channels, double *columns)
{
    double total = 0;
    memset(columns, 0, (size_t)part->side * sizeof *columns);
    for (ptrdiff_t y = 0; y < part->side; y++)
        add_energy(part, channels, y, 1, columns);
    for (ptrdiff_t x = 0; x < part->side; x++)
        total += columns[x];
    return total;
}

/* The energy of the ground under the window at each of n by n shifts. */
INLINE void energy_under(const Part *window, const Part *ground, ptrdiff_t channels, ptrdiff_t n, double *columns,
                         float *under)
{
    const ptrdiff_t side = (ptrdiff_t)window->side;
    memset(columns, 0, (size_t)ground->side * sizeof *columns);
    for (ptrdiff_t y = 0; y < side - 1; y++)
        add_energy(ground, channels, y, 1, columns);
    for (ptrdiff_t row = 0; row < n; row++, under += n) {
        double sum = 0;
        add_energy(ground, channels, row + side - 1, 1, columns);
        for (ptrdiff_t x = 0; x < side - 1; x++)
            sum += columns[x];
        for (ptrdiff_t col = 0; col < n; col++) {
            sum += columns[col + side - 1];
            under[col] = (float)(sum > 0 ? sum : 0);
            sum -= columns[col];
        }
        add_energy(ground, channels, row, -1, columns);
    }
}

/* Where the parabola through three values has its peak, from the middle one. */
INLINE double vertex(const float *middle, ptrdiff_t step)
{
    const double before = middle[-step], after = middle[step], bend = before - 2 * (double)*middle + after;
    return 0.5 * (before - after) / (bend < -1e-9 ? bend : -1e-9);
}

/* What lies apart from the peak and fits about as well: a ridge, or another place. */
INLINE void look_apart(const Settings *set, const float *scores, ptrdiff_t n, ptrdiff_t col, ptrdiff_t row, Peak *found)
{
    const float rival = (float)(set->rival * found->score);
    double xx = 0, xy = 0, yy = 0, count = 0, farthest = 0;
    for (ptrdiff_t y = 0; y < n; y++)
        for (ptrdiff_t x = 0; x < n; x++)
            if (scores[y * n + x] > rival) {
                const double dx = (double)(x - col), dy = (double)(y - row);
                xx += dx * dx, xy += dx * dy, yy += dy * dy, count += 1;
                farthest = fmax(farthest, fmax(fabs(dx), fabs(dy)));
            }
    if (!(found->score > 0) || !(farthest > set->peak_px))
        return;
    found->ridge_px[0] = xx / count, found->ridge_px[1] = xy / count, found->ridge_px[2] = yy / count;
    const double width2 = ((xx + yy) - sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)) / (2 * count);
    found->ambiguous = width2 > set->ridge_px * set->ridge_px;
}

/* 1 with the best of n by n shifts, 0 where the window has no edges, -1 where there is no memory. `surface` holds their
   correlations; `overlap` and `under`, which may be NULL where all is valid, what of the window's energy lies on valid
   ground, and that of the ground under valid pixels of the window. The number in the name counts up with each change of
   what is passed, so that no library is called that was built from another state of this file. */
EXPORT int georeg_peak_v1(const Settings *set, int64_t channels, const Part *window, const Part *ground,
                          const float *surface, const float *overlap, const float *under, Peak *found)
{
    const ptrdiff_t n = (ptrdiff_t)(ground->side - window->side + 1);
    double *columns = malloc((size_t)ground->side * sizeof(double) + (size_t)(2 * n * n) * sizeof(float));
    if (columns == NULL)
        return -1;
    float *scores = (float *)(columns + ground->side), *sums = scores + n * n;
    const double total = total_energy(window, (ptrdiff_t)channels, columns);
    if (!(total > 0)) {
        free(columns);
        return 0;
    }
    if (under == NULL) {
        energy_under(window, ground, (ptrdiff_t)channels, n, columns, sums);
        under = sums;
    }
    const float enough = (float)(set->min_overlap * total), whole = (float)total;
    ptrdiff_t best = 0;
    for (ptrdiff_t i = 0; i < n * n; i++) {
        const float own = overlap ? overlap[i] : whole, both = own * under[i];
        scores[i] = own >= enough ? surface[i] / sqrtf(both > 1e-6f ? both : 1e-6f) : -1;
        best = scores[i] > scores[best] ? i : best;
    }
    const ptrdiff_t row = best / n, col = best % n;
    const float own = overlap ? overlap[best] : whole;
    memset(found, 0, sizeof *found);
    found->score = scores[best];
    found->overlap = own < under[best] ? own : under[best];
    found->shift_px[0] = (double)col - (double)(n - 1) / 2;
    found->shift_px[1] = (double)row - (double)(n - 1) / 2;
    found->inside = 0 < row && row < n - 1 && 0 < col && col < n - 1;
    if (found->inside > 0) {
        found->shift_px[0] += vertex(scores + best, 1);
        found->shift_px[1] += vertex(scores + best, n);
    }
    look_apart(set, scores, n, col, row, found);
    free(columns);
    return 1;
}
