"""The words of metric names, grouped by the direction in which the metric improves.

Phrases are compared without separators, so that ``hit rate`` also matches ``hitrate``, ``HitRate`` and ``hit-rate``.
The longest entry that ends at a word wins. Entries are separated by commas.
"""

from typing import Final


def _entries(*groups: str) -> frozenset[str]:
    """Return the entries of all groups, each without spaces."""
    return frozenset(entry.replace(" ", "") for group in groups for entry in group.replace("\n", " ").split(","))


# Proper names of metrics decide at any position (`iou_road`), unless a word to their right decides.
RISING_NAMES: Final = _entries(
    # classification
    """accuracy, acc, bacc, balacc, macc, aacc, auc, auroc, auprc, aupr, aucpr, auc roc, roc auc, pr auc, pauc, gauc,
    uauc, auuc, ap, average precision, precision, prec, recall, sensitivity, specificity, ppv, npv, positive
    predictive value, negative predictive value, predictive value, tpr, tnr, true positive, true positive rate, true
    negative, true negative rate, tp, tn, f1, f2, f3, f05, f beta, fmeasure, fscore, mcc, phi coefficient, phik,
    matthews, kappa, qwk, informedness, markedness, youden, youden j, youdens index, jaccard, gmean, geometric mean
    score, uar, uap, exact match, subset accuracy, gini, normalized gini, lrap, lwlrap, critical success, csi,
    threat score, gilbert skill, heidke, hss, bss, skill score, fowlkes mallows, log auc, positive likelihood ratio,
    hamming score, top accuracy""",
    # A mean of precisions or recalls is a precision or a recall; `map` is mAP, and does not match inside `mape`.
    "map, mar, ar, apsmall, apmedium, aplarge, aps, apm, apl, mean ap, box ap, mask ap, segm ap, wap",
    # detection, tracking, pose; MOTP is left out: libraries define it as an overlap or as a distance
    """iou, miou, giou, diou, ciou, eiou, siou, fwiou, biou, intersection over union, nds, mota, amota, hota, idf1,
    idp, idr, deta, assa, oks, pck, pckh, pcp, vpq, stq, vstq, lstq, mostly tracked""",
    # segmentation
    """dice, cldice, dsc, nsd, surface dice, panoptic quality, segmentation quality, recognition quality, pq, sq, rq,
    pqth, pqst, boundary f, boundary f1, s measure, e measure, aupro, oscr""",
    # retrieval, ranking, recommendation
    """mrr, rr at, p at, r at, reciprocal rank, dcg, ndcg, idcg, hit rate, hits, hit, bpref, infap, minp, cmc, ctr,
    cvr, click through, rprec, r precision, rbp, qini, uplift, rank 1, r 1, rank 5, rank 10, rank20""",
    # language
    """bleu, sacrebleu, gleu, chrf, rouge, rouge l, rouge lsum, rouge w, rouge s, meteor, cider, cider d, spice,
    spider, fense, comet, bleurt, mover score, bart score, bert score, unieval, nist, squad, las, uas, smatch, muc,
    ceaf, blanc, mauve, sari, ccc, token accuracy, slot f1, word info preserved, word information preserved, wip,
    parseval, seqeval, questeval, alignscore, summac, kiwi""",
    # Benchmarks of language models report an accuracy, a pass rate or a win rate under their own name.
    """mmlu, hellaswag, gsm, gsm8k, humaneval, mbpp, arc challenge, arc easy, arc c, arc e, truthfulqa, winogrande,
    boolq, piqa, siqa, sciq, gpqa, triviaqa, bbh, openbookqa, obqa, lambada, copa, glue, superglue, mnli, qnli,
    sst2, ifeval, alpaca eval, mt bench, big bench, cmmlu, ceval, agieval, math500, aime, swe bench, livecodebench,
    pass at, pass k, win rate, lc win rate, elo, mfu, acc norm, arena hard, hotpotqa, natural questions,
    commonsenseqa, csqa, mgsm, xnli, wic, wsc""",
    # speech and audio
    """pesq, stoi, estoi, mos, dnsmos, utmos, nisqa, visqol, srmr, snr, snri, ssnr, segsnr, sdr, sdri, si sdr, si snr,
    sa sdr, sisdri, sisnri, sar, sir, csig, cbak, covl, signal noise ratio, signal to noise ratio, distortion ratio,
    haspi, hasqi, warpq, interference ratio, artifacts ratio, modulation energy ratio, objective intelligibility,
    opinion score, speech quality, polqa""",
    # images; LPIPS and DISTS are distances, although their names contain `similarity`
    """psnr, psnrb, ssim, msssim, issim, cwssim, fsim, fsimc, vif, vifp, vsi, vmaf, uqi, qnr, scc, inception score,
    musiq, maniqa, clipiqa, arniqa, topiq, nima, liqe, hyperiqa, dbcnn, information fidelity, image quality, quality
    with no reference, quality assessment, method assessment, clip i, clip t, aesthetic, image reward, pick score,
    hps, hpsv, isnr, clip score, srocc, krocc, iqa""",
    # regression and forecasting
    """r2, r squared, rsq, adj r2, pearson, spearman, kendall, pearsonr, spearmanr, kendalltau, tau b, pearsons, plcc,
    srcc, krcc, corrcoef, correlation, corr, kge, nse, nash sutcliffe, kling gupta, willmott, efficiency, explained
    variance, evs, explained var, coefficient of determination, cod, determination, d2 absolute error, d2 pinball,
    d2 tweedie, d2 brier, d2 log loss, cramersv, theils u, tschuprows t, contingency coefficient, pcc, lccc,
    concordance, rank ic, icir, a1, a2, a3, delta 1, delta 2, delta 3, mda, pocid, directional accuracy, cos sim,
    cosine similarity, spearman rho, pearson rho""",
    # likelihood and Bayes
    """log likelihood, loglik, llk, likelihood, marginal likelihood, log prob, log probability, log posterior, elbo,
    iwae, elpd, lpd, lppd, predictive density, log density, log evidence, mll, lower bound, ess, effective sample
    size, log pdf, ll""",
    # survival, clustering, biology, anomaly
    """c index, c statistic, harrell c, uno c, silhouette, ari, nmi, ami, rand, rand index, adjusted rand, homogeneity,
    completeness, v measure, purity, dunn, calinski harabasz, calinski, fmi, bcubed, modularity, mutual info, mutual
    information, trustworthiness, continuity, tm score, lddt, plddt, gdt, gdt ts, gdt ha, iptm, ptm, dockq, qed,
    bedroc, enrichment factor, native contacts, validity, consensus""",
    # reinforcement learning
    "reward, rew, episodic return, episode return, spl, ep rew, hns",
    # finance; the words of a name such as `Sharpe ratio` do not show a direction
    """sharpe, sortino, calmar, omega ratio, treynor, information ratio, profit, profit factor, pnl, cagr, roi, roe,
    revenue, payoff, win ratio""",
    # continual learning
    "bwt, fwt, backward transfer, forward transfer",
    # speed
    """throughput, fps, qps, goodput, speedup, ips, tps, hr at, ch score, ch index, em score, em at, clip sim, dino
    sim, err ia, distinct, sps, recip rank, tversky index, forecast skill, crpss, harrells c, arhr, mosnet, gini
    norm, ars, flops utilization, win loss ratio, speaker sim, truthful""",
)
FALLING_NAMES: Final = _entries(
    # classification and calibration
    """error rate, misclassification, misclass, logloss, brier, ece, mce, ace, sce, tce, uce, calibration error, fpr,
    fnr, far, frr, fdr, fmr, fnmr, false positive, false negative, false positive rate, false negative rate, false
    discovery, false omission, false accept, false acceptance, false reject, false rejection, false alarm, false
    match, false non match, fallout, miss rate, fp, fn, hter, eer, apcer, bpcer, acer, dcf, tdcf, hamming, zero one,
    negative likelihood ratio, aurc, eaurc, fppi, lamr, log average miss rate""",
    # losses by name
    """loss, crossentropy, xent, bce, cce, bcewithlogits, hinge, huber, log cosh, nll, nelbo, infonce, nt xent,
    poisson, kld, kl div, kl divergence, ce loss, arcface, ctc, vlb, smooth l1, lovasz, dfl""",
    # regression
    """mse, mae, mape, smape, wmape, mdape, medae, msle, rmse, rmsle, nrmse, nmse, nmae, wape, mase, rmsse, msse, owa,
    crps, rmspe, mspe, mre, mare, mql, wql, sse, rmsd, msd, rmae, rae, rse, rrse, mrae, gmrae, l1, l2, rel l2, rel
    l1, abs rel, sq rel, silog, log 10, rmse log, log rmse, pinball, ranked probability, quantile score, interval
    score, winkler, deviance, sum of squares, mad, medad, maxae, mpiw, pinaw, aae, imae, irmse, aad, spectral angle""",
    # poses, trajectories, geometry
    """ade, fde, nme, epe, mpjpe, pa mpjpe, mpvpe, mpjae, pel, aepe, ape, ate, rpe, rre, mate, maoe, mave, maae,
    chamfer, hausdorff, assd, asd, masd, hd95, emd, mean angular, vre, bad pixel, f1 all, d1 all, lip vertex, lve,
    fvve, procrustes""",
    # tracking
    "id switches, id switch, idsw, switches, fragmentations, mostly lost, identity switch, identity switches",
    # language and speech
    """ppl, perplexity, bpc, bpb, bpd, bpw, bpt, nats, wer, cer, per, mer, der, jer, ser, ter, wil, wder, cpwer, lder,
    word info lost, word information lost, edit distance, levenshtein, edit rate, self bleu, mcd, mel cepstral
    distortion, lsd, spectral distance, ned, f0 rmse, gpe, vde, ffe, toxicity, toxic, hallucination""",
    # images: all Frechet distances, distortions, and two distances that are called similarities
    """fid, sfid, kid, fvd, fad, cmmd, mmd, mifid, fjd, fd, lpips, dists, niqe, piqe, brisque, ilniqe, gmsd, mdsi,
    nlpd, sam, ergas, rase, tv, total variation, swd, perceptual image patch similarity, perceptual similarity,
    structure and texture similarity, perceptual path length, path length, deepfid, st lpips, spectral distortion,
    spatial distortion, distortion index, d lambda, dimensionless synthesis, spectral angle mapper, clip fid, fdd,
    dreamsim""",
    # divergences and information criteria
    """divergence, jsd, js, wasserstein, sinkhorn, jensen shannon, hellinger, bhattacharyya, mahalanobis, tvd, renyi,
    aic, aicc, bic, caic, waic, looic, dic, hqic, hqc, mdl, free energy, mcse, energy distance, minkowski, fisher
    rao, cosine distance, discrepancy""",
    # clustering; for the Davies-Bouldin index lower is better, although it is called a score
    """davies bouldin, dbi, db index, xie beni, wcss, inertia, quantization error, topographic error, variation of
    information, voi""",
    # survival, finance
    "ibs, integrated brier, inbll, drawdown, mdd, max dd, tracking error, ulcer",
    # ranks: bare `rank` may be a setting or a process number
    "median rank, mean rank, avg rank, average rank, medr, meanr, mnr, mdr, anmrr",
    # speed
    """latency, ttft, tpot, itl, runtime, rtf, real time factor, bad 1, bad 2, bad 3, bad 4, missed detection, false
    detection, db score, bpp, ber, cllr, tace, ksce, median ae, theil u2, interval width, id swap, fragmentation,
    jerk, steps to goal, steps to success, repetition, rep rate, epoch duration, step duration, batch duration, foot
    skating""",
)

# Ordinary nouns decide only if they are the head of a name: not in `error_code` or `time_limit`.
RISING_NOUNS: Final = _entries(
    """return, success, win, similarity, agreement, correct, correctness, faithfulness, groundedness, relevance,
    relevancy, helpfulness, factuality, fluency, coherence, consistency, fidelity, quality, gain, utility,
    retention, conversion, click, detection, solved, solve, completion, pass, overlap, match, certified,
    readability, naturalness, intelligibility, adequacy, completed, goal, margin, wealth, yield, engagement,
    satisfaction, harmlessness, truthfulness, honesty, uptime, availability, em, ef, evidence, lift, cohesion,
    fitness, welfare""",
)
FALLING_NOUNS: Final = _entries(
    """error, err, mistake, miss, cost, distance, dist, deviation, distortion, disparity, difference, gap, regret,
    residual, violation, failure, fail, crash, collision, off road, clash, wrong, incorrect, churn, bounce,
    jailbreak, harmful, harmfulness, forgetting, suboptimality, infeasibility, time, overhead, staleness, ms, dd,
    degradation, misalignment, downtime, dropped frames, complaint, waste, unfairness, slippage, tardiness,
    makespan, shortfall, hd, nd, ce, bits, redundancy, miscalibration, abandonment, risk, time taken, fall, unsafe,
    penetration""",
)

# The spread of a number does not show how good it is.
SPREADS: Final = _entries("std, se, stddev, stdev, stderr, standard deviation, sem, variance, var, ci95")

# Quantities, settings and pictures: no direction, regardless of the words before them.
UNDIRECTED: Final = _entries(
    # settings and counters
    """lr, learning rate, weight, decay, weight decay, wd, momentum, dropout, seed, scale, scaler, temperature, beta,
    alpha, gamma, epsilon, eps, lambda, tau, rho, sigma, threshold, thresholds, size, length, len, width, height,
    depth, horizon, dim, dimension, global step, timestep, timesteps, time elapsed, elapsed, wall time, timestamp,
    update, worker, world, rank, config, mode, code, limit, budget, version, name, flag, type, function, n samples,
    parameter, param, flop, flos, mac, schedule, warmup, patience, prior""",
    # usage of a device: lower is not better, since an idle device is wasted
    """memory, mem, ram, vram, gpu, cpu, util, utilization, power, energy, watt, load, disk, usage, allocated,
    reserved, mb, gb, mib, gib""",
    # gradients, activations and statistics of a distribution
    """norm, gradient, grad, activation, histogram, hist, skew, kurtosis, quantile, percentile, entropy, perturbation,
    sparsity, saturation, magnitude, noise, hessian, trace, eigenvalue, logit, prediction, pred, target, feature,
    embedding, output, input, value, q, advantage, statistic, stat, stat scores, group stat rates, fairness, p value""",
    # pictures and reports
    """curve, curves, matrix, confusion, roc, det, report, table, plot, figure, summary, display, contingency, wrapper,
    collection, tracker, aggregator, transformer""",
    # Signed errors, and quantities with a target value.
    """bias, mbe, mpe, me, mean error, bias error, motp, ks, picp, sharpness, coverage, diversity, novelty,
    serendipity, personalization, popularity, uniqueness, uniformity, alignment, compression ratio, compression,
    rhat, calibration, confidence, prevalence, support, base rate, positive, positive rate, selection, disparate
    impact, likelihood ratio, likelihood ratios, info lm, odds ratio, hazard, hazard ratio, rate ratio, clip frac,
    clip fraction, clip range, clip ratio, clipping, acceptance, refusal, attack success, exploration, volatility,
    turnover, leverage, position, price, trade, cvar, brevity, brevity penalty, penalty, gen, vocab, volume,
    loudness, sample rate, f0, anomaly, anomaly score, energy score, log score, real score, fake score, z score,
    risk score, rps, approx kl, skipped, nan, inf, gini impurity, impurity, pairwise distance, weights, survival
    time, noise scale, error bar, error bars, loss reduction, loss change, loss spike, loss fn, loss function, err
    d, err g, err real, err fake, loss count, loss ratio, success threshold, reward threshold, reward scale, binding
    energy, end time, start time, forward pass, backward pass, bandwidth, delay, timeout, jitter, clip, density,
    mass, top p, top k, weight l1, weight l2, codebook perplexity, images, boxes, tokens, epochs, steps, episodes,
    batches, feature map, heat map, attention map, saliency map, thr, thresh, nms, nms iou, time index, date time,
    bin, ci, loss coef, loss coeff, loss coefficient, reward coef, reward coeff, reward coefficient, value coef, kl
    coef, free bits, l1 reg, l2 reg, silhouette samples, iterations, num detections, n detections""",
)

# An adversarial loss falls when training goes badly as often as when it goes well.
OPPONENTS: Final = _entries(
    """policy, actor, critic, pg, ppo, surrogate, entropy, ent, alpha, temperature, temp, g, d, gen, disc, generator,
    discriminator, dis, adversarial, adv, adversary, gan, wgan, real, fake, gp, penalty, minimax, clip fraction""",
)

# These have the direction of the measured quantity: lower is better for an error score and for `error_top1`, higher is
# better for an accuracy score.
MEASURES: Final = _entries(
    """score, rate, ratio, count, number, num, coefficient, coeff, coef, measure, fraction, frac, prob, probability,
    frequency, freq, factor, indicator, rating, area, characteristic, top""",
)

# These describe where, when, how or on which data a number was computed, but not what it measures.
CIRCUMSTANCES: Final = _entries(
    # which data
    """val, valid, validation, validate, train, training, eval, evaluation, test, testing, dev, holdout, held out, oob,
    cv, fold, split, public, private, in, out, ood, iid, id, seen, unseen, novel, base, all, overall, full, clean,
    dataloader, dataset, data, set, subset, idx, index, loader, task, head, branch, stage, phase, group, domain""",
    # when
    """epoch, step, batch, iter, iteration, running, final, last, latest, current, cur, init, best, so far, ema, swa,
    sma, smoothed, smooth, raw, online, offline, monitor, interval, window, rolling, moving, cumulative, cum, total,
    end""",
    # how it was averaged
    """mean, avg, average, averaged, median, max, min, maximum, minimum, sum, macro, micro, weighted, samples, sample,
    binary, multiclass, multilabel, multi, class, classes, classwise, per class, category, label, instance, image,
    pixel, voxel, token, word, sentence, sent, char, character, document, doc, corpus, level, global, local, ovr,
    ovo, normalized, normalised, unnormalized, adjusted, adj, balanced, exact, strict, relaxed, soft, hard, fixed,
    p50, p90, p95, p99, p""",
    # sizes and parts that detection and retrieval append to a name
    """small, medium, large, s, m, l, n, k, x, y, b, easy, moderate, bbox, box, segm, mask, keypoint, keypoints, th,
    st, things, stuff, coco, voc, lvis, 2d, 3d, d, bev, r, i, hard negative, foreground, background, fg, bg, sec,
    seconds, second, vgg, alex, squeeze""",
    """logits, with logits, percent, pct, percentage, db, mm, cm, px, points, relative, rel, absolute, abs, squared,
    root, log, linear, cosine, quadratic, scaled, torch, keras, sklearn, native, metrics, metric, perf, performance,
    charts, rollout, objective, head d, head g, task d, task g, output d, output g, usd, eur""",
)

# Words that only occur in compounds, so that `multiclassaccuracy` can be split.
BUILDING_WORDS: Final = _entries(
    """sparse, categorical, logarithmic, symmetric, harmonic, geometric, generalized, generalised, expected, adaptive,
    structural, peak, learned, frechet, kernel, sliced, invariant, signal, phoneme, cohen, cohens, fleiss, ranking,
    jensen, tweedie, spectral, spatial, universal, retrieval, contrastive, triplet, focal, tversky, perceptual,
    reconstruction, recon, commitment, false, true, zero, one, hot, equal, half, bert, logistic, euclidean, short,
    speech, panoptic, modified""",
)

# "x per second" is a speed, and "seconds per x" is a time.
TIME_UNITS: Final = _entries(
    """s, sec, secs, second, seconds, ms, msec, us, millisecond, milliseconds, min, minute, minutes, h, hour, hours,
    day, days""",
)
PREPOSITIONS: Final = _entries(
    "at, with, using, on, for, from, under, by, vs, versus, wrt, given, without, within, over, to",
)
NEGATIONS: Final = _entries("neg, negative, negated, minus, inverse, inverted, inv")
# Words that are long enough, and rare enough inside other words, to be recognised at the end of a compound.
ENDINGS: Final = (
    *("accuracy", "auroc", "error", "score", "loss", "bleu", "psnr", "ssim", "mape", "rmse"),
    *("auc", "iou", "mse", "mae", "acc", "err"),
)
