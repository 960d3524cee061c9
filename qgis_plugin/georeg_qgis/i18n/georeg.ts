<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" sourcelanguage="en">
 <context>
  <name>AreaBox</name>
  <message>
   <source>As it is when Align is pressed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Click the corners on the map. A right click ends, Backspace takes one back, Esc gives up.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Draw</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Draw again</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Drawn polygon</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>No such layer.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Nothing is drawn yet.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Polygon layer</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Taken: {which}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The area is a drawn polygon, but none is drawn yet; draw it under “Where to look”.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The area is a polygon layer, but there is none with polygons; choose one.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What the canvas shows</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Whole overlap</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>BatchPanel</name>
  <message>
   <source>Align 1 target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Align {n} targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>All are aligned to the reference above, each by itself, with the same options.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Clear</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Click a row to see it on the map.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Files…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Folder of targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Folder of the aligned rasters</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Folder…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Into folder</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Layers…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Many targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Remove</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Written into {folder}</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>GeoregDock</name>
  <message>
   <source>The command was copied.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>HistoryPanel</name>
  <message>
   <source>Compare two</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>History</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Run again</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Show</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>InputsPanel</name>
  <message>
   <source>Open a raster file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open the reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open the target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Swap reference and target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>moves</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>stays</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}: {columns} × {rows} pixels of it are exported for this area first.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>Many</name>
  <message>
   <source>The run was cancelled. No file was changed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The same button again goes on with the rest.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>georeg: batch of {n}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>there is no reference; choose one</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>OptionsPanel</name>
  <message>
   <source>&lt;p&gt;The corrected copy. A file that exists is never replaced.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Advanced</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>As Satellite, with four times as many points, so that a bend can be followed. Takes longer.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Drone, old photo</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Everything at its default</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>One shift for the whole raster, nothing is turned or bent.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Satellite</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Shift only</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Write the corrected copy to</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Write to</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>georeg takes the simplest correction that withheld ground confirms.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>ResultPanel</name>
  <message>
   <source>&lt;p&gt;Both images on alternating squares, 1:1 at the check point with the largest residual.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>&lt;p&gt;Drag over the map: left of the line is the other image.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>&lt;p&gt;Open the same in Processing: the dialog of the algorithm.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>&lt;p&gt;Take back the last point by hand.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>&lt;p&gt;The other image shows while the button is held.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>&lt;p&gt;Zoom to the check point with the largest residual.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Add point</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Checkerboard</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Click a feature in the target, then in the reference; its exact place is measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Compare</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Copy as command</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Drag an end of the point that is selected in the table; its exact place is measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Hold to flicker</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Move</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open report</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Processing…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>QGIS does not show the target where georeg placed it, so nothing can be pointed at.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refit with all</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refit with {made} by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refit with {made} by hand, without {n}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refit without {n} unticked</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Set up georeg…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Swipe</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take back</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Tie points on the map</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Undo…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Untick or add points to refit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Worst place 1:1</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>after</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>before</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>with the reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>with the target as it was</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>with {name}</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>RunPanel</name>
  <message>
   <source>&lt;p&gt;Measure how well the two agree. Nothing is written.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Align</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Aligning scenes</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cancel</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cancelling…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Check only</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Finding the place</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Log</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Matching windows</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refining</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Starting georeg</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Writing</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>about {time} left</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>SearchBox</name>
  <message>
   <source>&lt;p&gt;Largest shift to accept. Automatic: as far as the smaller raster is long.&lt;/p&gt;</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>And where is the same in the reference? Esc gives up.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Click something that both show: first where it is in the target. Esc gives up.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Measure on the map</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Measured {apart} m; searched within {search} m, to be sure.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Two clicks on the map: where something is in the target, and where the same is in the reference.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>auto</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>TieTable</name>
  <message>
   <source>Residual: how far from the reference the correction leaves it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>[px]</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>no.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>off [{u}]</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>use</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>what</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>WherePanel</name>
  <message>
   <source>Area</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Clouds, water or snow, which are not to be matched: polygons, or a raster that is not zero there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference mask</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Search within</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target mask</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The mask “{name}” has no polygons; choose another.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Where to look</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>none</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{name} (limited)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{name}” is a web map, whose colours are no mask; choose polygons or a raster.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>georeg</name>
  <message>
   <source>({n} more left out as mismatches)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>1 check point was left out by you: the figures are of those that you kept.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>1 of 2: click a corner or a spot in the target as it was. Esc ends.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>2 of 2: click the same in the reference. The exact place is measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>A Python that has georeg</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>About how many pairs each scene is matched in: the likest in season and date, and far ones; few scenes: all.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>About how many windows to try where 'Distance of windows (px)' is not given.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Align a raster (georeg)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Align a raster to a reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Align many rasters to a reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Aligned</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Aligned, and proven on check points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Aligns each of many targets by itself, as “Align” would, into a file of its name in a folder. What is refused stops none of the others: the summary, a table, says why.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>All {n} scenes aligned.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Already aligned</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Already aligned: nothing was moved</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Also draw a checkerboard of both, before and after.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Also keep the points of 'Points made by hand' in the fit, weighted by 'Deviation of points made by hand (px)'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Also write a GeoTIFF of the difference that misregistration alone makes once the target is corrected, and of the one observed, in grey values of the reference: what does not exceed the first is no evidence of change.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Also write a GeoTIFF of the standard deviation of each pixel's corrected position, sigma_x and sigma_y in map units.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Also write a report, one HTML file; of a refused pair, too.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Append</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Apply a correction</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Area</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Assess how well two rasters agree</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Asset</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Asset of the Item that was corrected: its key, or the name, common name or role that it alone has; by default the only one that is data.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Auto takes the simplest that withheld points do not improve on; local is a smooth field. Give a word, not its number: auto, translation, similarity, affine, homography, polynomial2, polynomial3, local.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Band numbers of the reference to match, 1-based, such as 1 or 1,2,3.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Band numbers of the target to match, as many as of the reference.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Bands into one: their mean, or difference, (b1 - b2) / (b1 + b2) of two; none matches all of them at once. Give a word, not its number: none, mean, difference.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Barely good enough for change detection pixel by pixel.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>CE90</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>CE90 of the check points after correction, map units</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>CE90 of the check points after correction, working pixels</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cache (MB)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cancel</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cancelled</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cancelled. Nothing was installed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Checkerboard before and after</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Checking {path}…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Choose {which}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Combination of bands</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Copy</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Corrected</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Corrects a raster by a result of “Align”, “Assess” or, not proven, of “Fit a correction”: by default the raster that was matched, else another band, mask or product of the same acquisition, which shares its wrong place. More of these go into a folder, each under its own name.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Creation option of GDAL's GTiff driver, NAME=VALUE; may be repeated.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Creation option of GDAL's driver for resampled output, NAME=VALUE; may be repeated.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Creation options</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Cuda correlates windows of 'Preset' fast and interpolates resampled pixels on a graphics card (NVIDIA, with CuPy); auto does so where one is found. Give a word, not its number: cpu, cuda, auto.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Detector</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Deviation of points made by hand (px)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Device</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Difference by misregistration</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Displacement</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Distance of the windows in working pixels; by default from 'Number of windows'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Distance of windows (px)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Do not use: georeg refuses this pair</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Done to both rasters before: clahe evens out local contrast, gaussian smooths, log suits SAR intensity. Give a word, not its number: none, clahe, gaussian, log.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Drag an end of point {n}: its place in the target or in the reference. Esc ends.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Else a job whose output exists is refused.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Exporting “{name}”</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Failed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>False match rate</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Fast matches by phase correlation alone: quicker, and several times less exact; default refines each window by least squares. Give a word, not its number: default, fast.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Finds the same ground in two rasters: tie points, each with its covariance, in a JSON file for “Fit a correction”. Points that were rejected stay in it with their reason.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Fit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Fit a correction to tie points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Fits the simplest correction that withheld tie points do not improve on. Tie points are those of “Match tie points”, or a .points or .csv file made by hand in the Georeferencer, for which target and reference are named, too. A fit proves nothing yet: “Assess” does.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Folder of the aligned rasters</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Folder of the corrected further rasters</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Format</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Give either a reference and a target, or a fit.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Good enough for change detection pixel by pixel.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Gtiff, cog (cloud-optimised) or vrt (refers to the target's pixels); auto is by the suffix, and a COG stays one. Give a word, not its number: auto, gtiff, cog, vrt.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>How many targets are aligned to one reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>How the bands of one instrument are put onto each other</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>How the result is written</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>How the scenes of a stack hang together</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>How tie points are sought</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Install…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Interpolation: auto is cubic (B-spline); lanczos has 3 lobes. Give a word, not its number: auto, nearest, bilinear, cubic, lanczos.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Interpolation: auto is nearest for classes and masks, else cubic (B-spline); lanczos has 3 lobes. Give a word, not its number: auto, nearest, bilinear, cubic, lanczos.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>It will lie in {folder}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Keep points made by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Keep what pairs say in this file, and measure none again that it holds: a run that was cut off goes on; by default pairs.jsonl in the folder of the output.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Keypoints of 'Matcher' features; OpenCV 5 has no akaze. Give a word, not its number: sift, akaze, orb.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Kind of the correction</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest CE90</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest CE90 of the check points after correction, in working pixels or metres: 0.3px, 3m.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest RMSE</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest RMSE of the check points after correction, in working pixels or metres.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest factor by which the target may have to grow or shrink.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest ratio of the scales along two directions, by stretch or shear.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest rotation (°)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest rotation of the target that may be right, degrees.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest scale</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest shift (m)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest shift to accept, metres; by default as far as the smaller raster is long.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Largest stretch</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Layers as targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Least overlap</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Least share of the smaller raster that must lie on the other once corrected.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Lengths are in {unit} of {crs}, {n:.3g} of which are 1 {unit} on the ground here.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Limits that end the run with exit code 3 and no output when exceeded</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Links</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Manifest</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Match only in about this many patches of ground, spread evenly and each about as large as a block of the files: for rasters that are slow to read; by default everywhere, but in 16 patches of remote rasters.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Match tie points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Matcher</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Matching</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Matching again</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Mean displacement to the east, map units</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Mean displacement to the north, map units</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Measures how well a target lies on a reference, before and after the correction that would be needed, on check points; changes no raster. Give either the two rasters, or a file of “Fit a correction”, which is proven or refused. The result is what “Apply a correction” takes.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Measuring the exact place…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Megabytes of decoded pixels of the reference that are kept from one target to the next; where all that is used fits, each part of its file is decoded once. Its means on larger pixels, some ten megabytes, come on top.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Model</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>More rasters that share it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Name the folder for the further rasters.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>No Python {} or newer was found; install one, and try again</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>No file was changed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>No scenes.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Not aligned yet, and georeg can correct it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Not good enough for change detection pixel by pixel: compare objects or larger pixels.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Not ready: {message}. {hint}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Note what became of each target here as soon as that is known, a line of JSON for each: the same command given again leaves alone what is done; by default manifest.jsonl in the folder.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Nothing was done</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of a tie point, from 1, that the new one takes the place of; by default it is one more.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of check points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of check points that were withheld</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of patches</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of targets that exceed a limit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of targets that were aligned</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of targets that were aligned already</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of targets that were refused</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of tie points that were kept</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of tie points that were rejected</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Number of windows</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Of STAC items, which asset is the scene: its key, or the role or common name of a band.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Of each band, one for all captures: a homography is what lenses that look the same way need, polynomials bend as well. Give a word, not its number: affine, homography, polynomial2, polynomial3.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Of {n}, take care.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>On {n} check points they are {apart} RMSE apart; Align would leave {left}. Nothing was written.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Onto</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open a file…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Open another target…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Or a fit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Or an environment made for you</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Or install it yourself</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Over a limit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Pairs</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Phase seeks the windows of a lattice by the phase of their gradients, features those about keypoints, structure by the edges alone, for other sensors and maps; auto is phase, then features, and structure where only that finds it. Give a word, not its number: auto, phase, features, structure.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Pixel value of the reference to ignore, instead of its own mask.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Pixel value of the target to ignore, instead of its own mask.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Pixels differ by a factor of {ratio:.3g}: only detail of the coarser is compared.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Place of the target at first</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Points made by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Points made by hand that say where the target lies, a .points or .csv file of QGIS: the only place that is tried.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Polygons of a vector file, in any CRS, else in the reference's: tie points are sought only within, where the reference shows it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Preprocessing</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Preset</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Processing is switched off (Plugins ▸ Manage and Install Plugins).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Put the result on the reference's grid, or never: by default only a correction that no geotransform holds, which without resampling becomes GCPs. Give a word, not its number: as needed, yes, no.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Puts the target where the georeferenced reference says it belongs, proves it on check points, and refuses where it cannot. The target itself is never changed. Where a geotransform holds the correction it alone is rewritten in a copy, pixels untouched; else the copy is resampled, once.

Rasters may differ in CRS, pixel size, type and sensor, and the target may be turned and scaled. RMSE and CE90 are of check points, which the correction was not fitted to. The result, a JSON file, corrects other files of the same scene by “Apply a correction”.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Python interpreter with georeg</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Python {version}: {path}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Quarantine</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>RMSE of the check points after correction, map units</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>RMSE of the check points after correction, working pixels</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>RMSE of the check points before correction, working pixels</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Raster that shares the wrong place; by default the one that was matched</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Ready: georeg {georeg}, Python {python}, {path}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference (stays)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference and target are the same file, {path}; choose two.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference and target are the same file.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference bands</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference mask</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference nodata</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Reference xy</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Refused</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Replace existing files</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Replace the output file if it exists.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Replaces</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Report</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Resample</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Resampling</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Result</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Result, for other files of the scene</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Scatter of the tie points about the fit, working pixels; no proof of its accuracy</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Scene</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Search everywhere</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Seed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Seed of the random sampling; the same seed gives the same bytes.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Seeking the target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Set up georeg…</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Share of windows that do not correspond which may pass as tie points.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Side of the matched windows in working pixels, a multiple of 8; by default chosen.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Side of the matched windows, working pixels</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Side of windows (px)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Sigma (px)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Standard deviation of a click along x and along y, pixels of the target.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Standard deviation of the points of 'Points made by hand' along x and along y, pixels of the target.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Step {done} of {total}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Summary</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Swap</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take care: {what}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take off</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take off and delete file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take off, keep file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Take “{name}” off the map?</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target (moves)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target bands</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target mask</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target nodata</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Target xy</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Targets</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Targets (move)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The area cannot be written to {path}: {why}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The band that the others are put onto, by its place among the files of a capture, from 1.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The corrected raster, as georeg align or apply wrote it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The export was cancelled. No file was changed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The extent of {target} cannot be expressed in the CRS of {reference}; check that both CRSs are right</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The project has no other raster layer that is a file.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The raster to correct, in which they were clicked.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The reference has no CRS, so it cannot say where the target lies.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The reference is among the targets; leave it out there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The reference {layer} has no CRS, so nothing can be placed by it; assign its projection to its file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The same of the target, which lies where the target's own georeferencing has it, uncorrected.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The stack.json of an earlier run, whose scenes stay as that run corrected them; only new ones are added.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The target is sought all over the reference.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The trusted raster that all scenes are put onto; by default they are put where they lie in the mean.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The trusted raster; needed where they name no CRS, or the target has no place.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>The two share no ground as they are georeferenced.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>This makes a Python environment in {folder}, downloads {requirement} and what it needs (some 300 MB) from the package index, and changes nothing else. Go on?</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Threads</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Threads to use; by default every processor.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Tie points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Tie points (*.json *.points *.csv);;All files (*)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Tie points made by hand, such as a .points file of QGIS</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Uncertainty of each pixel</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Undo</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Unit of the map</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Untick what is no target.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Use and test</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Verdict</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What an Item of a corrected raster is about</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What does the work: by default threads of this process. The result is the same, on a graphics card but for rounding</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What else is written, beside the result</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What georeg wrote can be deleted with it: {paths}. The target itself was never changed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What of the reference is not to be matched, such as clouds, water or snow: polygons, or a raster that is not zero there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What pip installs: a version, or the path of a file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>What to do: {hint}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Where it is in the target as it is georeferenced; by default where the correction found so far has it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Where one more tie point is measured</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Where the feature is in the reference, map units of the working CRS; the peak near there is taken.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Where the target lies at first: by its geotransform; by its gcps; with its center on the reference's and pixels as large; or none, nothing is known. auto is the first of geotransform, gcps and none that its file allows. Give a word, not its number: auto, geotransform, gcps, center, none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Which model is fitted</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Which pixels of the two rasters are compared</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Why</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Working pixel size, map units</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Write the paths of the targets that are over a limit here at the end, one in a line, as @FILE reads them.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Writing</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Writing layers</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>Writing the report</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>a file opened with options</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>a layer of the provider “{}”</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>a reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>a reference and a target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>a target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>aligned</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>all {n} polygons of it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>ambiguous</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>another one</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>automatic</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>before: {name}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>bias east</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>bias north</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>by hand: {what}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>check</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>check point</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>check points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>fit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>georeg runs in a Python of its own, beside QGIS, whose libraries it would clash with. QGIS's Python is not changed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>georeg runs in a Python of its own: {problem}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>inconsistent</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>it could not be read or written to {path}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>its polygons cannot be written to {path}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>its server gave no picture of this area; check that it can be reached and shows the area</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>kept</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>largest</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>least</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>left out</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>low texture</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>masked</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>model</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>moved east</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>moved north</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>no CRS</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>no better than chance</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>none</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>not aligned: {name}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>one of several in {}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>out of range</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>out of the search</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>outlier</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>overlap {share:.0%} of the smaller</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>overwrite</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>pinned</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>pinned by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>pixels {pixels}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>points made by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>reference: {name}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>residuals × {times:,.0f}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>switched off by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>target</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>target before</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>the selected polygon of it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>tie points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>too few valid pixels</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>too little texture</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>two estimates disagree</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>used by the fit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>weak peak</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>without {n} that you left out</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{bad} of {n} scenes not aligned.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{east} {unit} E, {north} {unit} N</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{kind} model</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{kind}, RMSE {px:.2g} px of {n}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{layer} has the CRS {shown} in QGIS, but {own} in its file, which is what georeg reads; assign the projection to the file, or set the layer's CRS back</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{layer} is not a plain file but {what}, which georeg cannot open; export it to a GeoTIFF first</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{name} was taken off the map, and {path} deleted.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{name} was taken off the map.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} by hand</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} check points</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} check points are few: take the figures as uncertain by about {share:.0%}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} check points were left out by you: the figures are of those that you kept.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} check points, which the fit has not seen, agree with the reference within {rmse} RMSE.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{n} selected polygons of it</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{path} exists; give another name or tick “{label}”</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{path} was not deleted: {why}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{reference} and {target} share no ground, and lie further apart than the smaller is long; check that both show the same place and that both CRSs are right, or set where the target lies at first to center or none</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{title}: the layer was removed meanwhile</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{used} of {n} tie points kept</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{verdict}, take care</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why} of all the world; choose an area under “Where to look”.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}, and it does not show this area.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}, and it lies elsewhere: nothing of it is needed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}, and nothing of the area lies there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}, and {n} million pixels are too many to copy it by the way; save it as a GeoTIFF first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{why}, nor can it be exported; save it as a GeoTIFF first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>{}: this layer cannot be opened; choose another</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{name}” has its CRS in QGIS only, not in its file</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{name}” is a web map</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{name}” is not a file that georeg can open</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{name}” was exported for this area: {path}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <source>“{}”, where no file is</source>
   <translation type="unfinished" />
  </message>
 </context>
</TS>
